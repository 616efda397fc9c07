"""Divide work among the processes of a training, and keep its results in files.

Each process does its share, appends the results to a file of its own and then waits for the other
files. The wait is not a collective operation: NCCL aborts a collective after 10 minutes, and a
share takes longer. Interrupted work is resumed, with any number of processes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from espresso.errors import DataError
from espresso.files import write_atomic
from finetune.checkpoints import writing

Item = TypeVar("Item")

POLL_S = 2.0
"""Seconds between two looks at the results of the other processes."""
STALL_S = 3600.0
"""Seconds without a new result after which a process stops waiting: far longer than a batch or the
loading of a model takes."""


def share(
    items: Mapping[str, Item],
    work: Callable[[dict[str, Item]], Iterable[tuple[str, Any]]],
    folder: Path,
    stem: str,
    what: str,
    *,
    rank: int = 0,
    processes: int = 1,
) -> dict[str, Any]:
    """Do the work that has no results yet; return the results of all items by key.

    Args:
        items: the items by key, the same in all processes.
        work: does the work of some items; yields (key, JSON value) pairs as they are done.
        folder: an existing folder. Results are read from all files `<stem>*.jsonl` in it; this
            process appends its own to `<stem>.<rank>.jsonl`, as `[key, value]` lines.
        stem: the start of the files' names.
        what: what the results are, in the plural, for error messages.
        rank: number of this process, from 0.
        processes: number of processes that call this function, each with another rank.

    Raises:
        DataError: the results cannot be written, or the other processes do not do their shares.
    """
    if not items:
        return {}
    file = folder / f"{stem}.{rank}.jsonl"
    with writing(folder, what):
        _remove_incomplete_line(file)
    done = _read(folder, stem)
    missing = {key: items[key] for key in list(items)[rank::processes] if key not in done}
    if missing:
        _append(file, work(missing), what)
    return _wait_for_all(folder, stem, items, what)


def _append(file: Path, results: Iterable[tuple[str, Any]], what: str) -> None:
    """Append results to a file as they are done."""
    with writing(file.parent, what):
        lines = file.open("a", encoding="utf-8")
    with lines:
        for result in results:
            with writing(file.parent, what):
                lines.write(json.dumps(result) + "\n")
                lines.flush()


def _wait_for_all(folder: Path, stem: str, keys: Iterable[str], what: str) -> dict[str, Any]:
    """Wait until every key has a result; return the results."""
    wanted, count, since = list(keys), -1, time.monotonic()
    while True:
        done = _read(folder, stem)
        missing = sum(key not in done for key in wanted)
        if not missing:
            return {key: done[key] for key in wanted}
        if len(done) != count:
            count, since = len(done), time.monotonic()
        elif time.monotonic() - since > STALL_S:
            raise DataError(
                f"{folder}: {missing} of {len(wanted)} {what} are missing, and other processes added none for "
                f"{STALL_S / 60:.0f} minutes. Make sure that all processes use the same file system, and run the command "
                "again to resume."
            )
        time.sleep(POLL_S)


def _read(folder: Path, stem: str) -> dict[str, Any]:
    """Read the results of all processes, except damaged lines and an incomplete last one."""
    return {key: value for file in sorted(folder.glob(f"{stem}*.jsonl")) for key, value in _results(file)}


def _results(file: Path) -> Iterator[tuple[str, Any]]:
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
        try:
            key, value = json.loads(line)
        except (ValueError, TypeError):
            continue
        if isinstance(key, str):
            yield key, value


def _remove_incomplete_line(file: Path) -> None:
    """Remove an incomplete last line, left by an interrupted run."""
    content = file.read_bytes() if file.exists() else b""
    complete = content[: content.rfind(b"\n") + 1]
    if complete != content:
        write_atomic(file, complete)
