"""An append-only log: a file of JSON lines, and a header that records what produces them.

One process writes at a time, and each line is written out before the next one is made. If the
process is killed, the same command resumes: a torn last line is dropped, and entries that failed
are retried. If an id occurs more than once, every command counts its last line only.
"""

from __future__ import annotations

import codecs
import json
import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from filelock import FileLock, Timeout

from espresso.datasets.rows import reason
from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.schema import Record

PACKAGES = ("videoespresso", "torch", "transformers", "peft", "langgraph", "openai", "av", "decord2", "numpy")
"""Packages whose versions can change the numbers."""
SHOWN_DIFFERENCES = 5


class LogEntry(Record):
    """What a line of a log holds."""

    id: str
    """What the entry is about. Of several lines about the same, the last one counts."""


Entry = TypeVar("Entry", bound=LogEntry)
Config = TypeVar("Config", bound=Record)


class LogHeader(Record, Generic[Config]):
    """What produces the entries of a log."""

    configuration: Config
    """Everything that changes the entries: a log with another configuration is not resumed."""

    environments: tuple[dict[str, str | None], ...]
    """Package versions and git commit, one for each start that changed them."""


class JsonlLog(Generic[Entry]):
    """A header `<name>.json` and a file of JSON lines in one folder, opened for writing.

    Args:
        path: the folder; it is created if it is missing.
        name: name of the header file, without ending.
        config: what produces the entries.
        lines: name of the file of lines.
        entry: the record that each line holds.
        done: whether an entry is kept when the log is resumed; the others are dropped and made
            again.
        ignored: dotted names in the configuration that may differ from the header's, because they
            describe and do not change the entries.

    Raises:
        DataError: the header has another configuration or cannot be read, a line cannot be read,
            another process is writing, or the folder cannot be written.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        config: Record,
        *,
        lines: str,
        entry: type[Entry],
        done: Callable[[Entry], bool],
        ignored: tuple[str, ...] = (),
    ) -> None:
        self.path = path
        self._name = name
        self._lines = path / lines
        with _disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / f"{name}.lock")
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise DataError(f"{path}: another process is writing {lines}. Wait for it, or give another --out.") from None
            try:
                self._write_header(config, ignored)
                self.entries = self._repair(entry, done)
                self._file = self._lines.open("ab")
            except BaseException:
                self._lock.release()
                raise

    entries: list[Entry]
    """The entries of earlier runs, in the order of the file."""

    def append(self, entry: Entry) -> None:
        """Write one line. Raises DataError if the disk is full."""
        with _disk_errors(self._lines):
            self._file.write(_line(entry))
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(OSError):  # a full disk was reported by `append`; the entry is made again when the log is resumed
            self._file.close()
        self._lock.release()

    def _write_header(self, config: Record, ignored: tuple[str, ...]) -> None:
        """Write the header, or check it if the log is resumed.

        Raises DataError if it has another configuration.
        """
        file, environments = self.path / f"{self._name}.json", tuple[dict[str, str | None], ...]()
        if file.exists():
            header = read_header(file, type(config))
            if differences := _differences(header.configuration, config, ignored):
                cure = f"Give another --out, or remove {file.name} and {self._lines.name}."
                raise DataError(f"{self.path} holds another {self._name} ({differences}). {cure}")
            config, environments = header.configuration, header.environments
        now = current_environment()
        if environments[-1:] != (now,):
            environments = (*environments, now)
        header = LogHeader(configuration=config, environments=environments)
        write_atomic(file, header.model_dump_json(indent=2) + "\n")

    def _repair(self, kind: type[Entry], done: Callable[[Entry], bool]) -> list[Entry]:
        """Read the entries to keep, and rewrite the file so that it holds nothing else."""
        content = self._lines.read_bytes() if self._lines.exists() else b""
        entries = [entry for entry in _parse(self._lines, content, kind) if done(entry)]
        kept = b"".join(map(_line, entries))
        if kept != content:
            write_atomic(self._lines, kept)
        return entries


def read_header(file: Path, kind: type[Config]) -> LogHeader[Config]:
    """Read a header whose configuration is of `kind`. Raises DataError if it cannot be read."""
    try:
        return LogHeader[kind].model_validate_json(file.read_bytes())  # type: ignore[valid-type]
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else reason(error)
        raise DataError(f"{file}: cannot read the header of a {file.stem} ({why}). Give another folder.") from None


def read_lines(file: Path, kind: type[Entry]) -> list[Entry]:
    """Read the entries of a log that no process is writing, each id once.

    Raises DataError if the file or a line cannot be read.
    """
    try:
        return _parse(file, file.read_bytes(), kind)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}). Give the folder of a run.") from None


def current_environment() -> dict[str, str | None]:
    """Return the package versions that can change the numbers, and the git commit, if any."""
    return {"commit": _commit(), "python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


def _commit() -> str | None:
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _parse(file: Path, content: bytes, kind: type[Entry]) -> list[Entry]:
    """Parse the complete lines, and return the last entry of each id, in the order of the first.

    A last line without its end was torn off.
    """
    entries = dict[str, Entry]()
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n")[:-1], 1):
        if not line.strip():
            continue
        try:
            entry = kind.model_validate_json(line)
        except ValueError as error:
            raise DataError(
                f"{file}, line {number}: cannot be read ({reason(error)}). Remove the line; it is made again."
            ) from None
        entries[entry.id] = entry
    return list(entries.values())


def _line(entry: LogEntry) -> bytes:
    return entry.model_dump_json().encode() + b"\n"


def _differences(old: Record, new: Record, ignored: tuple[str, ...]) -> str:
    """List the first few differences: `strategy: "uniform" there, "blind" requested`.

    Empty if there are none.
    """
    before, after = (dict(_flat(json.loads(config.model_dump_json()))) for config in (old, new))
    names = [name for name in {**before, **after} if name not in ignored and before.get(name) != after.get(name)]
    listed = [f"{name}: {json.dumps(before.get(name))} there, {json.dumps(after.get(name))} requested" for name in names]
    rest = [f"and {len(listed) - SHOWN_DIFFERENCES} more"] if len(listed) > SHOWN_DIFFERENCES else []
    return "; ".join(listed[:SHOWN_DIFFERENCES] + rest)


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, inner


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}). Free some space or give another --out, then run the same "
            "command again to resume."
        ) from error
