"""The log of a benchmark run: `run.json` is its header, `samples.jsonl` has a line per question."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from espresso.errors import DataError
from espresso.log import JsonlLog, LogHeader, read_header, read_lines
from espresso.options import Protocol
from espresso.profiles import CHAT_ROLES
from espresso.schema import Record
from eval.sample import Sample

_SERVER_FIELDS = ("cache_gb", "overhead_gb", "tensor_parallel", "devices")
DESCRIPTIVE = (
    *("profile.about", "profile.download", "profile.world_only", "profile.judge_compares"),
    *(f"profile.{role}.{field}" for role in CHAT_ROLES for field in _SERVER_FIELDS),
)
"""Profile fields that change no answer, and that folders of earlier versions may lack."""


class RunConfig(Record):
    """What identifies a run: if any of it changes, the answers do not belong together."""

    bench: str
    """Name of the dataset."""

    split: str

    limit: int | None
    """Number of questions, from the first; None for all."""

    strategy: str

    seed: int
    """Seed of the order in which options are shown, and of random frames."""

    profile: dict[str, Any]
    """The profile as JSON."""

    models: dict[str, str]
    """Role, or "reasoner answer" for an adapter -> name, with a fingerprint of local weights."""

    prompts: dict[str, str]
    """Template name -> hash of the template."""

    questions: str
    """Hash over all questions with their references."""

    frames: int | None = None
    """Frames of `uniform` and `random`, or the most that the selector may choose.

    None for the default.
    """

    protocol: Protocol = "choice"

    given: bool = False
    """Whether the evidence in the dataset is used instead of the reasoner's own."""


class RunFolder(JsonlLog[Sample]):
    """The folder of a run, opened for writing.

    Raises DataError as `JsonlLog` does, or for a folder of something else.
    """

    def __init__(self, path: Path, config: RunConfig) -> None:
        _check_unused(path)
        super().__init__(
            path,
            "run",
            config,
            lines="samples.jsonl",
            entry=Sample,
            done=lambda sample: sample.error is None,
            ignored=DESCRIPTIVE,
        )


def read_run(path: Path) -> LogHeader[RunConfig]:
    """Read the header of a run's folder. Raises DataError if the folder holds no run."""
    return read_header(path / "run.json", RunConfig)


def read_samples(path: Path) -> list[Sample]:
    """Read the samples of a run's folder, each question once.

    Raises DataError if it holds none, or a line cannot be read.
    """
    return read_lines(path / "samples.jsonl", Sample)


def _check_unused(path: Path) -> None:
    """Raise DataError for a folder that is neither a run's nor empty, or cannot be read."""
    if not os.path.isdir(path) or os.path.exists(path / "run.json"):
        return
    try:
        entries = os.listdir(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Give another --out.") from None
    if other := next((name for name in entries if not name.startswith("run.")), None):
        raise DataError(f"{path} is not the folder of a run (it holds {other}). Give another --out.")
