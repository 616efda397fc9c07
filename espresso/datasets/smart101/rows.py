"""Read folders of puzzles: `<id>/puzzle_<id>.csv`, with the images in `<id>/img`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from espresso.datasets.fields import is_missing, optional_text, text
from espresso.datasets.rows import BadRow, RawRow, read_rows, reason
from espresso.errors import DataError

LETTERS = ("A", "B", "C", "D", "E")

RELEASE = ("SMART101-Data", "SMART101-release-v1/SMART101-Data")
"""Where the folders of puzzles are in the release, relative to the unpacked archive."""


@dataclass(frozen=True)
class PuzzleRow:
    """An instance of a root puzzle: one row of its file."""

    puzzle: int
    """Id of the root puzzle."""

    number: int
    """Position in the file, from 0. Splits are ranges of positions; a bad row keeps its own."""

    question: str

    image: str
    """Name of the file in the folder `img` of the puzzle."""

    options: tuple[str, ...]
    """The five options. They are the letters if the image shows the options."""

    answer: int
    """Index of the correct option."""

    @property
    def id(self) -> str:
        """Puzzle and position: "2-0015"."""
        return f"{self.puzzle}-{self.number:04d}"


@dataclass(frozen=True)
class PuzzleFile:
    """The rows of one root puzzle."""

    rows: tuple[PuzzleRow, ...]
    """The rows that can be used."""

    size: int
    """Number of rows of the file, with bad ones."""


def puzzle_folder(path: Path) -> Path:
    """Return the folder that contains the folders of puzzles, `path` itself or one in it.

    Raises:
        DataError: there is none.
    """
    for folder in (path, *(path / name for name in RELEASE)):
        if folder.is_dir() and puzzle_ids(folder):
            return folder
    what = "no folder of puzzles in it" if path.is_dir() else "it is a file" if path.is_file() else "no such folder"
    raise DataError(f"{path}: {what}. Give the folder SMART101-Data with the folders 1 to 101.")


def puzzle_ids(folder: Path) -> list[int]:
    """Return the ids of the root puzzles that have a folder, in order."""
    return sorted(int(each.name) for each in folder.iterdir() if each.name.isdecimal() and each.is_dir())


def read_puzzle(folder: Path, puzzle: int, bad: list[BadRow], notes: list[str]) -> PuzzleFile:
    """Read the file of a root puzzle.

    The release has `62/puzzle_63.csv` for `62/puzzle_62.csv`: the only file with such a name is
    read, whatever its number is.

    Args:
        folder: the folder that contains the folders of puzzles.
        puzzle: id of the root puzzle.
        bad: rows that cannot be used are appended to it, and a file that cannot be read.
        notes: assumptions are appended to it.
    """
    path = folder / str(puzzle) / f"puzzle_{puzzle}.csv"
    if not path.is_file():
        others = sorted(path.parent.glob("puzzle_*.csv"))
        if len(others) != 1:
            bad.append(BadRow(f"{puzzle}/{path.name}", "no such file"))
            return PuzzleFile((), 0)
        notes.append(f"{puzzle}/{others[0].name} is read as {path.name}")
        path = others[0]
    rows, seen, faults, size = list[PuzzleRow](), dict[tuple[object, ...], str](), list[BadRow](), 0
    try:
        for where, raw in read_rows(path, faults):
            number = _position(where)
            size = max(size, number + 1)
            try:
                row = _row(puzzle, number, raw)
                key = (row.question, row.image, row.options)
                if key in seen:
                    raise ValueError(f"the same question as in {seen[key]}")
                seen[key] = where
                rows.append(row)
            except (KeyError, ValueError) as error:
                faults.append(BadRow(where, reason(error)))
    except DataError as error:
        faults.append(BadRow(f"{puzzle}/{path.name}", str(error).removeprefix(f"{path}: ").rstrip(".")))
        return PuzzleFile(tuple(rows), size)
    finally:
        bad += [BadRow(f"{puzzle}/{each.where.removeprefix(f'{puzzle}/')}", each.why) for each in faults]
    return PuzzleFile(tuple(rows), max([size, *(_position(each.where) + 1 for each in faults)]))


def images(folder: Path, puzzle: int) -> frozenset[str]:
    """Return the names of the images of a root puzzle."""
    path = folder / str(puzzle) / "img"
    return frozenset(each.name for each in os.scandir(path) if each.is_file()) if path.is_dir() else frozenset()


def _position(where: str) -> int:
    """Return the position of a row from 0: `where` ends in its number from 1."""
    return int(where.rsplit(" ", 1)[1]) - 1


def _row(puzzle: int, number: int, raw: RawRow) -> PuzzleRow:
    image = text(raw, "image")
    if "/" in image or "\\" in image:
        raise ValueError(f"the field 'image' is {image!r}, not the name of a file")
    options = LETTERS if is_missing(raw["A"]) else tuple(text(raw, letter) for letter in LETTERS)
    twice = next((option for option in options if options.count(option) > 1), None)
    if twice is not None:
        raise ValueError(f"the option {twice!r} is there twice")
    return PuzzleRow(puzzle, number, text(raw, "Question"), image, options, _answer(options, raw))


def _answer(options: tuple[str, ...], raw: RawRow) -> int:
    """Return the index of the answer, which is a letter, or else the text of an option."""
    written = optional_text(raw, "Answer")
    if written in LETTERS:
        return LETTERS.index(written)
    if written in options:
        return options.index(written)
    if not written:
        raise ValueError("the field 'Answer' is empty")
    raise ValueError(f"the field 'Answer' is {written!r}, neither a letter from A to E nor an option")
