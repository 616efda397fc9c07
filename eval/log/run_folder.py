"""The folder of a run: `run.json` says what is asked and with what, `samples.jsonl` holds a line for each question answered.

It is a ledger (`eval.log.jsonl`): killed at any point, the same command goes on where it stopped, and asks again what was an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espresso.errors import DataError
from espresso.schema import Record
from eval.log.jsonl import Account, Ledger, account_in, lines_in
from eval.metrics import Sample
from eval.protocols import Protocol


class Configuration(Record):
    """What makes two runs the same run: with any of it changed, their answers do not belong together.

    limit: questions, None for all. profile: its settings as JSON. models: role (or "reasoner answer", for an adapter) ->
    name, which for what is in a folder tells its weights apart. prompts: name -> hash of its template. questions: hash over
    all questions with their references. seed: of the options' order. frames, protocol, given: see `eval.sample.Asking`.
    """

    bench: str
    split: str
    limit: int | None
    strategy: str
    seed: int
    profile: dict[str, Any]
    models: dict[str, str]
    prompts: dict[str, str]
    questions: str
    frames: int | None = None
    protocol: Protocol = "choice"
    given: bool = False


class RunFolder(Ledger[Sample]):
    """A run's folder, opened for writing. Raises DataError as a ledger does, and where the folder holds something else."""

    def __init__(self, path: Path, configuration: Configuration, environment: dict[str, str | None]) -> None:
        _refuse_another(path)
        super().__init__(
            path,
            "run",
            configuration,
            environment,
            lines="samples.jsonl",
            entry=Sample,
            done=lambda sample: sample.error is None,
        )

    @property
    def samples(self) -> list[Sample]:
        """Those answered before, in the order of the file."""
        return self.entries


def run_in(path: Path) -> Account[Configuration]:
    """What a run's folder says was asked. Raises DataError for a folder that is none."""
    return account_in(path / "run.json", Configuration)


def samples_in(path: Path) -> list[Sample]:
    """Every sample of a finished run's folder. Raises DataError where it holds none, or a line that is no sample."""
    return lines_in(path / "samples.jsonl", Sample)


def _refuse_another(path: Path) -> None:
    """Leave a folder alone that is not a run's. Raises DataError."""
    if not path.is_dir() or (path / "run.json").exists():
        return
    if strange := next((entry.name for entry in path.iterdir() if not entry.name.startswith("run.")), None):
        raise DataError(f"{path}: not the folder of a run (it holds {strange}). Give another --out.")
