"""The folder of a run: `run.json` says what is asked and with what, `samples.jsonl` holds a line for each question answered.

One process writes at a time, and each line is on its way to the disk before the next question's: killed at any point, the same
command goes on where it stopped. A torn last line is dropped then, and so are errors, whose questions are asked again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from espresso.errors import DataError
from espresso.schema import Record
from eval.metrics import Sample

SHOWN_DIFFERENCES = 5


class Configuration(Record):
    """What makes two runs the same run: with any of it changed, their answers do not belong together.

    limit: questions, None for all. profile: its settings as JSON. models: role (or "reasoner answer", for an adapter) ->
    name, which for what is in a folder tells its weights apart. prompts: name -> hash of its template. questions: hash over
    all questions with their references. seed: of the options' order.
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


class RunRecord(Record):
    """The content of `run.json`. environments: package versions and commit, once for each start that changed them."""

    configuration: Configuration
    environments: tuple[dict[str, str | None], ...]


class RunFolder:
    """A run's folder, opened for writing; `samples` are those answered before, in the order of the file.

    Raises DataError where the folder holds another run, something else or a line that cannot be read, where another process is
    writing to it, and where nothing can be written.
    """

    def __init__(self, path: Path, configuration: Configuration, environment: dict[str, str | None]) -> None:
        self.path = path
        self._samples_file = path / "samples.jsonl"
        with _disk(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / "run.lock")
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise DataError(f"{path}: another process is writing to this run. Wait for it, or give another --out.") from None
            try:
                self._claim(configuration, environment)
                self.samples = self._repair()
                self._file = self._samples_file.open("ab")
            except BaseException:
                self._lock.release()
                raise

    def append(self, sample: Sample) -> None:
        """Write one line. Raises DataError where the disk takes no more."""
        with _disk(self._samples_file):
            self._file.write(sample.model_dump_json().encode() + b"\n")
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(OSError):  # what a full disk did not take has been told, and is asked again
            self._file.close()
        self._lock.release()

    def _claim(self, configuration: Configuration, environment: dict[str, str | None]) -> None:
        """Write `run.json`, or go on with the run that it tells of. Raises DataError where that is another one."""
        file, before = self.path / "run.json", tuple[dict[str, str | None], ...]()
        if file.exists():
            try:
                held = RunRecord.model_validate_json(file.read_bytes())
            except ValueError as error:
                reason = str(error).splitlines()[0]
                raise DataError(
                    f"{file}: not the record of a run ({reason}). Give another --out, or remove the folder."
                ) from None
            if differences := _differences(held.configuration, configuration):
                raise DataError(f"{self.path}: holds another run ({differences}). Give another --out, or remove the folder.")
            before = held.environments
        elif strange := next((entry.name for entry in self.path.iterdir() if not entry.name.startswith("run.")), None):
            raise DataError(f"{self.path}: not the folder of a run (it holds {strange}). Give another --out.")
        environments = before if before[-1:] == (environment,) else (*before, environment)
        record = RunRecord(configuration=configuration, environments=environments)
        _replace(file, record.model_dump_json(indent=2).encode() + b"\n")

    def _repair(self) -> list[Sample]:
        """Read the samples answered so far, and make the file hold these alone."""
        file = self._samples_file
        content = file.read_bytes() if file.exists() else b""
        samples = [sample for sample in _read(file, content) if sample.error is None]
        kept = b"".join(sample.model_dump_json().encode() + b"\n" for sample in samples)
        if kept != content:
            _replace(file, kept)
        return samples


def samples_in(path: Path) -> list[Sample]:
    """Every sample of a finished run's folder. Raises DataError where it holds none, or a line that is no sample."""
    file = path / "samples.jsonl"
    try:
        return list(_read(file, file.read_bytes()))
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}). Give the folder of a run.") from None


def _read(file: Path, content: bytes) -> Iterator[Sample]:
    """Parse the whole lines of `samples.jsonl`; what follows the last line's end was torn off."""
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            yield Sample.model_validate_json(line)
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{file}, line {number}: not a sample ({reason}). Remove it, and it is asked again.") from None


def _differences(held: Configuration, asked: Configuration) -> str:
    """Tell what differs, "strategy: 'uniform' there, 'blind' asked for", the first few of it; empty where nothing does."""
    there, wanted = dict(_flat(held.model_dump(mode="json"))), dict(_flat(asked.model_dump(mode="json")))
    different = [name for name in {**there, **wanted} if there.get(name) != wanted.get(name)]
    told = [f"{name}: {json.dumps(there.get(name))} there, {json.dumps(wanted.get(name))} asked for" for name in different]
    rest = [f"and {len(told) - SHOWN_DIFFERENCES} more"] if len(told) > SHOWN_DIFFERENCES else []
    return "; ".join(told[:SHOWN_DIFFERENCES] + rest)


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, inner


def _replace(file: Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    part = file.parent / f"run.{file.name}.part"
    part.write_bytes(content)
    part.replace(file)


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}). Give it room or another --out; the same command goes on."
        ) from error
