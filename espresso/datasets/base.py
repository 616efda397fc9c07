"""Benchmarks whose files a user has: rows of questions in a public format, and a folder of videos.

A benchmark of this kind is a function from a row to a `Question`, which names its video as the row does. Where that video lies,
which rows cannot be read and which videos are not there is the same for all, and found before a single question is asked.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from espresso.errors import DataError
from espresso.schema import Answer, Question, letter

Row = Mapping[str, Any]
VIDEOS = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".gif")


@dataclass(frozen=True)
class Source:
    """A user's copy of a benchmark. data: the file of its questions. videos: the folder that holds its videos, however deep."""

    data: Path
    videos: Path


@dataclass(frozen=True)
class Loaded:
    """Questions that can be asked. bad: rows that cannot be read, each with its place and reason. missing: videos not found."""

    questions: list[Question]
    bad: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileBench:
    """A benchmark in files. read: makes a question of a row; a KeyError is a field that is not there, a ValueError a bad one."""

    read: Callable[[Row], Question]
    SPLITS: tuple[str, ...] = ("test",)

    def load(
        self, split: str, limit: int | None, source: Source | None, on_clip: Callable[[int, int], None] | None = None
    ) -> Loaded:
        """Read the first `limit` questions whose videos are there, or all. Raises DataError where there is none."""
        if source is None:
            raise DataError("this benchmark's files are yours to bring. Give --data FILE and --videos FOLDER.")
        videos = _by_name(source.videos)
        questions, bad, missing, seen = list[Question](), list[str](), dict[str, None](), dict[str, str]()
        for where, row in _rows(source.data):
            if len(questions) == limit:
                break
            try:
                question = self.read(row)
            except KeyError as error:
                bad.append(f"{where}: no field {error}")
                continue
            except ValidationError as error:
                bad.append(f"{where}: {error.errors()[0]['msg'].removeprefix('Value error, ')}")
                continue
            except (ValueError, TypeError, AttributeError, IndexError) as error:
                bad.append(f"{where}: {' '.join(str(error).split())}")
                continue
            if question.id in seen:
                bad.append(f"{where}: the same question as in {seen[question.id]}")
                continue
            seen[question.id] = where
            (name,) = question.visuals
            found = _find(name, videos)
            if found is None:
                missing[name] = None
            else:
                questions.append(question.model_copy(update={"visuals": (str(found),)}))
        if not questions and not missing:
            why = f" The first: {bad[0]}." if bad else ""
            raise DataError(f"{source.data}: no question in it ({len(bad)} bad rows).{why}")
        return Loaded(questions, tuple(bad), tuple(missing))

    def facts(self, question: Question, answer: Answer) -> list[bool]:
        """Whether a fact is true is not known here."""
        return []

    def caption(self, visual: str, time: float) -> str | None:
        """What is truly seen is not known here."""
        return None


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """Find all videos, by name without ending. Raises DataError where the folder is none."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder. Give the one that holds the benchmark's videos.")
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in VIDEOS:
            found.setdefault(file.stem, []).append(file)
    return found


def _find(name: str, videos: Mapping[str, list[Path]]) -> Path | None:
    """Find the video that a row means, by as much of its path as the row tells; None where there is none, or more than one."""
    wanted = Path(name)
    if wanted.suffix.lower() in VIDEOS:
        wanted = wanted.with_suffix("")
    named = videos.get(wanted.name, [])
    same = [file for file in named if file.with_suffix("").parts[-len(wanted.parts) :] == wanted.parts]
    chosen = same or named
    return chosen[0] if len(chosen) == 1 else None


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Read each row with its place: JSON (a list, or an object of rows), JSON lines, CSV or Parquet. Raises DataError."""
    try:
        for number, row in enumerate(_read(path), 1):
            yield f"{path.name}, row {number}", row
    except (OSError, ValueError, TypeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be read ({reason}). Give the benchmark's file as it was downloaded.") from None


def _read(path: Path) -> Iterator[Row]:
    match path.suffix.lower():
        case ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                yield from csv.DictReader(file)
        case ".jsonl":
            yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())
        case ".parquet":
            from pyarrow.parquet import read_table  # type: ignore[import-untyped]  # noqa: PLC0415 - for this format alone

            yield from read_table(path).to_pylist()
        case _:
            rows = json.loads(path.read_text(encoding="utf-8"))
            yield from rows.values() if isinstance(rows, dict) else rows


def lettered(options: Sequence[str]) -> dict[str, str]:
    """Options by letter. Where each brings its own, as "(A): red", "A. red" or "A) red", it is taken off."""
    found = [_LETTER.match(option) for option in options]
    own = all(match and match[1] == letter(number) for number, match in enumerate(found))
    texts = [option[match.end() :] if own and match else option for option, match in zip(options, found, strict=True)]
    return {letter(number): text.strip() for number, text in enumerate(texts)}


_LETTER = re.compile(r"\s*\(?([A-Z])\s*[).:]\s*:?\s*")
