"""Read files of datasets: rows of JSON, JSONL, CSV and Parquet, their options, and their videos."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from espresso.errors import DataError
from espresso.schema import letter

RawRow = Mapping[str, Any]
"""A row of a file: field name -> value, as parsed from JSON, CSV or Parquet."""

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".gif")


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used."""

    where: str
    """File name and row number, counted from 1: "val.csv, row 3"."""

    why: str
    """The reason, without a full stop."""

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


def read_rows(path: Path, bad: list[BadRow]) -> Iterator[tuple[str, RawRow]]:
    """Read the rows of a JSON, JSONL, CSV or Parquet file.

    Args:
        path: the file. JSON is a list of rows or an object of rows; a name that ends with neither
            ".csv", ".jsonl" nor ".parquet" is read as JSON.
        bad: rows that are not objects are appended to it.

    Yields:
        (where, row); `where` is as in `BadRow`. Rows are counted from 1; in JSONL the number is
        that of the line.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        for number, row in _parse(path):
            where = f"{path.name}, row {number}"
            if isinstance(row, ValueError):
                bad.append(BadRow(where, f"not JSON ({row})"))
            elif isinstance(row, Mapping):
                yield where, row
            else:
                bad.append(BadRow(where, "not an object"))
    except (OSError, ValueError, TypeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be read ({why}). Give the dataset's file as it was downloaded.") from None


def _parse(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield numbered rows; a line of JSONL that is not JSON is yielded as its error."""
    match path.suffix.lower():
        case ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                yield from enumerate(csv.DictReader(file), 1)
        case ".jsonl":
            with path.open(encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield number, _json_or_error(line)
        case ".parquet":
            from pyarrow.parquet import read_table  # type: ignore[import-untyped]  # noqa: PLC0415 - only for this format

            yield from enumerate(read_table(path).to_pylist(), 1)
        case _:
            rows = json.loads(path.read_text(encoding="utf-8"))
            yield from enumerate(rows.values() if isinstance(rows, dict) else rows, 1)


def _json_or_error(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        return error


def reason(error: Exception) -> str:
    """Return the reason for a bad row from the error that its reading raised."""
    if isinstance(error, KeyError):
        return f"no field {error}"
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        if first["type"] == "value_error":
            return first["msg"].removeprefix("Value error, ")
        return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
    return " ".join(str(error).split()).rstrip(".")


def split_letters(options: Sequence[str]) -> dict[str, str]:
    """Return options by letter, without their own letters: "(A): red", "A. red" or "A) red"."""
    starts = [_LETTER.match(option) for option in options]
    lettered = all(start and start[1] == letter(number) for number, start in enumerate(starts))
    texts = [option[start.end() :] if lettered and start else option for option, start in zip(options, starts, strict=True)]
    return {letter(number): text.strip() for number, text in enumerate(texts)}


_LETTER = re.compile(r"\s*\(?([A-Z])\s*[).:]\s*:?\s*")


def by_letter(options: Mapping[str, str], answer: object) -> str:
    """Return the option of a letter: "B" or "(B)". Raises ValueError if there is no such option."""
    if (key := str(answer).strip().strip("()")) not in options:
        raise ValueError(f"the answer is {answer!r}, but the options are {', '.join(options)}")
    return options[key]


def by_index(options: Sequence[str], answer: Any) -> str:
    """Return the option of an index, from 0. Raises ValueError if there is no such option."""
    if not 0 <= (index := int(answer)) < len(options):
        raise ValueError(f"the answer is {answer}, but the options are 0 to {len(options) - 1}")
    return options[index]


class VideoFolder:
    """A folder of videos, searched by the names in a dataset's rows.

    Args:
        path: the folder. Subfolders of any depth are searched too.

    Raises:
        DataError: the folder does not exist.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise DataError(f"{path}: no such folder. Give the folder that contains the videos.")
        self.path = path

    def find(self, name: str) -> Path | None:
        """Find a visual by its path in the folder, else by its name and the parent folders in it.

        A file of the same name in a folder of another name is not the visual: datasets number the
        videos of each of their sources from 1. In the folder itself it is, as in a flat copy.

        Args:
            name: the name in a row. The suffix of a video may be missing or a different one.

        Returns:
            The path; None if no file matches, or more than one.
        """
        if (path := self.path / name).is_file():
            return path
        wanted = Path(name)
        if wanted.suffix.lower() in VIDEO_SUFFIXES:
            wanted = wanted.with_suffix("")
        named = self._by_stem.get(wanted.name, [])
        same = [file for file in named if file.with_suffix("").parts[-len(wanted.parts) :] == wanted.parts]
        parent = wanted.parent.name
        near = [file for file in named if file.parent == self.path or not parent or file.parent.name == parent]
        matches = same or near
        return matches[0] if len(matches) == 1 else None

    def get(self, name: str) -> str:
        """Return the path of a visual. Raises ValueError if it is not found."""
        if (path := self.find(name)) is None:
            raise ValueError(f"{name} is not in {self.path}")
        return str(path)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        """All videos, by name without suffix."""
        videos: dict[str, list[Path]] = {}
        for file in sorted(self.path.rglob("*")):
            if file.suffix.lower() in VIDEO_SUFFIXES:
                videos.setdefault(file.stem, []).append(file)
        return videos
