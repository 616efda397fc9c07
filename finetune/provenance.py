"""Where an adapter comes from: base, data, first stage, settings and measurements, as `lineage.json` in its folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import Field

from espresso.errors import DataError
from espresso.schema import Record
from finetune.config import LoraConfig
from finetune.lora.collate import Row, StageName

PACKAGES = ("torch", "transformers", "trl", "peft", "videoespresso")


def _versions() -> dict[str, str]:
    return {package: version(package) for package in PACKAGES}


class Lineage(Record):
    """Where an adapter comes from, as `lineage.json` beside it.

    base_digest, first_digest, data_digest: over the base's and the first stage's weights and over what was learnt, so that an
    adapter for another base is known. rows, bad: rows learnt from and left out. changed, merged: see `finetune.lora.train.Trained`.
    """

    stage: StageName
    base: str
    base_digest: str
    first_digest: str | None
    data_digest: str
    rows: int
    bad: int
    steps: int
    before: dict[str, float]
    after: dict[str, float]
    changed: float
    merged: float
    config: LoraConfig
    versions: dict[str, str] = Field(default_factory=_versions)


def check(first: Path, base: str, base_digest: str) -> None:
    """Raise DataError where the first stage is not there, or was trained on another base."""
    file = first / "lineage.json"
    if not file.is_file():
        raise DataError(f"{first}: no first stage there. Run `espresso finetune evidence` with this config first.")
    held = Lineage.model_validate_json(file.read_bytes())
    if held.base_digest != base_digest:
        raise DataError(
            f"{first}: this adapter is for another base ({held.base}, not {base} as it is now). Train the first stage again."
        )


def claim(checkpoints: Path, training: dict[str, Any]) -> None:
    """Write down which training a folder's checkpoints are of. Raises DataError where they are another's."""
    file, said = checkpoints / "training.json", json.dumps(training, indent=2, sort_keys=True) + "\n"
    if file.exists() and file.read_text() != said:
        held = json.loads(file.read_text())
        differs = ", ".join(name for name in training if held.get(name) != training[name])
        raise DataError(
            f"{checkpoints}: checkpoints of another training (other {differs}). Remove them, or give another --output."
        )
    checkpoints.mkdir(parents=True, exist_ok=True)
    file.write_text(said)


def digest(folder: Path) -> str:
    """SHA-256 over the weights in a folder, 16 hex digits."""
    found = sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as opened:
            while block := opened.read(1 << 24):
                found.update(block)
    return found.hexdigest()[:16]


def data_digest(learnt: Iterable[Row]) -> str:
    """SHA-256 over the words of rows (not their pictures), 16 hex digits."""
    return sha256("\n".join(json.dumps([row.example.id, row.said, row.reply]) for row in learnt).encode()).hexdigest()[:16]
