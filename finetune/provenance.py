"""Provenance of an adapter, stored as `lineage.json` in its folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.profiles.weights import PROVENANCE_FILE
from espresso.schema import Record
from finetune.lora.collate import StageName, TrainingRow
from finetune.lora.config import FinetuneConfig

PACKAGES = ("torch", "transformers", "trl", "peft", "videoespresso")
"""Packages that `Provenance.versions` records."""


def package_versions() -> dict[str, str]:
    """Return the versions of `PACKAGES`."""
    return {package: version(package) for package in PACKAGES}


class Provenance(Record):
    """How an adapter was trained: base model, first stage, data, settings and measurements."""

    stage: StageName | Literal["places"]
    base: str
    """The base model, as the configuration names it."""
    base_digest: str
    """Digest of the base model's weights; see
    `espresso.profiles.weights.weights_digest`."""
    first_digest: str | None
    """Digest of the first stage's adapter; None if the training has no first stage."""
    start_digest: str | None = None
    """Digest of the adapter that the training continued from, if it is not the first stage's."""
    data_digest: str
    """Digest of the training rows; see `data_digest`."""
    rows: int
    """Number of training rows."""
    bad: int
    """Number of rows that were left out: invalid ones, and those of the next two fields."""
    unreadable: int = 0
    """Number of rows with a frame that cannot be decoded."""
    too_long: int = 0
    """Number of rows with more than `max_length` tokens."""
    steps: int
    """Number of optimizer steps."""
    before: dict[str, float]
    """`loss` and `token_accuracy` on the held-out data before training; empty without held-out
    data."""
    after: dict[str, float]
    """The same after training. For the stage places: the shares of `marks` and of tokens of
    `values` that it reads rightly."""
    changed: float | None
    """Share of reply tokens that the adapter changes; see
    `finetune.lora.train.compare_with_base`. None for the stage places, which learns no replies."""
    merged: float | None
    """Share of reply tokens on which adapter and merged weights agree; None as above."""
    config: FinetuneConfig
    versions: dict[str, str] = Field(default_factory=package_versions)
    """Versions of the packages in `PACKAGES`."""

    def write(self, folder: Path) -> None:
        """Write `lineage.json` to the adapter's folder."""
        write_atomic(folder / PROVENANCE_FILE, self.model_dump_json(indent=2) + "\n")


def read_provenance(folder: Path) -> Provenance | None:
    """Read `lineage.json` from an adapter's folder; None if there is none.

    Raises:
        DataError: the file is damaged.
    """
    file = folder / PROVENANCE_FILE
    try:
        return Provenance.model_validate_json(file.read_bytes()) if file.is_file() else None
    except (ValidationError, OSError):
        raise DataError(f"{file}: cannot be read as the provenance of an adapter. Run the training again.") from None


def check_stage(folder: Path, stage: str, base: str, base_digest: str) -> None:
    """Check that a folder holds an earlier stage's adapter for this base model.

    Args:
        folder: the folder.
        stage: the name of the earlier stage.
        base: the base model, as the configuration names it.
        base_digest: the digest of its weights.

    Raises:
        DataError: there is no adapter, its `lineage.json` is damaged, or it was trained on another
            base model.
    """
    earlier = read_provenance(folder)
    if earlier is None:
        raise DataError(f"{folder}: no trained adapter found. Run `espresso finetune {stage}` with this config first.")
    if earlier.base_digest != base_digest:
        raise DataError(
            f"{folder}: this adapter was trained on another base model ({earlier.base}, not the current {base}). "
            f"Train the stage {stage} again."
        )


def data_digest(rows: Iterable[TrainingRow]) -> str:
    """Return the SHA-256 of the rows' ids and texts, without their frames, as 16 hex digits."""
    return text_digest(json.dumps([row.example.id, row.prompt_evidence, row.reply]) for row in rows)


def text_digest(texts: Iterable[str]) -> str:
    """Return the SHA-256 of lines of text, as 16 hex digits."""
    return sha256("\n".join(texts).encode()).hexdigest()[:16]
