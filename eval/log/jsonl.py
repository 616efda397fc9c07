"""A file of JSON lines that only grows, and beside it the record of what makes them: how long work is kept and gone on with.

One process writes at a time, and each line is on its way to the disk before the next is made: killed at any point, the same
command goes on where it stopped. A torn last line is dropped then, and so is what failed, which is tried again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from filelock import FileLock, Timeout

from espresso.errors import DataError
from espresso.schema import Record

SHOWN_DIFFERENCES = 5
Entry = TypeVar("Entry", bound=Record)
Configured = TypeVar("Configured", bound=Record)


class Account(Record, Generic[Configured]):
    """The content of the record. environments: package versions and commit, once for each start that changed them."""

    configuration: Configured
    environments: tuple[dict[str, str | None], ...]


class Ledger(Generic[Entry]):
    """`<name>.json` and a file of lines in a folder, opened for writing; `entries` are those of before, in the order of the file.

    lines: name of the file of lines, each an `entry`. done: whether an entry is kept when the work goes on.
    Raises DataError where the record tells of another configuration or is none, where a line cannot be read, where another
    process is writing, and where nothing can be written.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        configuration: Record,
        environment: dict[str, str | None],
        *,
        lines: str,
        entry: type[Entry],
        done: Callable[[Entry], bool],
    ) -> None:
        self.path = path
        self._name = name
        self._lines = path / lines
        with _disk(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / f"{name}.lock")
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise DataError(f"{path}: another process is writing its {lines}. Wait for it, or give another --out.") from None
            try:
                self._claim(configuration, environment)
                self.entries = self._repair(entry, done)
                self._file = self._lines.open("ab")
            except BaseException:
                self._lock.release()
                raise

    def append(self, entry: Entry) -> None:
        """Write one line. Raises DataError where the disk takes no more."""
        with _disk(self._lines):
            self._file.write(_line(entry))
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(OSError):  # what a full disk did not take has been told, and is made again
            self._file.close()
        self._lock.release()

    def _claim(self, configuration: Record, environment: dict[str, str | None]) -> None:
        """Write the record, or go on with the work that it tells of. Raises DataError where that is another."""
        file, before = self.path / f"{self._name}.json", tuple[dict[str, str | None], ...]()
        if file.exists():
            held = account_in(file, type(configuration))
            if differences := _differences(held.configuration, configuration):
                cure = f"Give another --out, or remove {file.name} and {self._lines.name}."
                raise DataError(f"{self.path}: holds another {self._name} ({differences}). {cure}")
            before = held.environments
        environments = before if before[-1:] == (environment,) else (*before, environment)
        account = Account(configuration=configuration, environments=environments)
        self._replace(file, account.model_dump_json(indent=2).encode() + b"\n")

    def _repair(self, kind: type[Entry], done: Callable[[Entry], bool]) -> list[Entry]:
        """Read what is done so far, and make the file hold that alone."""
        content = self._lines.read_bytes() if self._lines.exists() else b""
        entries = [entry for entry in _read(self._lines, content, kind) if done(entry)]
        kept = b"".join(map(_line, entries))
        if kept != content:
            self._replace(self._lines, kept)
        return entries

    def _replace(self, file: Path, content: bytes) -> None:
        """Write a file as a whole or not at all."""
        part = file.parent / f"{self._name}.{file.name}.part"
        part.write_bytes(content)
        part.replace(file)


def account_in(file: Path, kind: type[Configured]) -> Account[Configured]:
    """Read a record whose configuration is of `kind`. Raises DataError where there is none."""
    try:
        return Account[kind].model_validate_json(file.read_bytes())  # type: ignore[valid-type]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise DataError(f"{file}: cannot be read as the record of a {file.stem} ({reason}). Give another folder.") from None


def lines_in(file: Path, kind: type[Entry]) -> list[Entry]:
    """Every line of a file that nobody writes to. Raises DataError where it is not there, or holds a line that is none."""
    try:
        return list(_read(file, file.read_bytes(), kind))
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}). Give the folder of a run.") from None


def _read(file: Path, content: bytes, kind: type[Entry]) -> Iterator[Entry]:
    """Parse the whole lines; what follows the last line's end was torn off."""
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            yield kind.model_validate_json(line)
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{file}, line {number}: cannot be read ({reason}). Remove it, and it is made again.") from None


def _line(entry: Record) -> bytes:
    return entry.model_dump_json().encode() + b"\n"


def _differences(held: Record, asked: Record) -> str:
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


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}). Give it room or another --out; the same command goes on."
        ) from error
