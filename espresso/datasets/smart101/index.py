"""The index of the root puzzles, `SMART_info_v2.csv`: skill and difficulty of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from espresso.datasets.fields import text
from espresso.datasets.rows import BadRow, RawRow, read_rows, reason
from espresso.errors import DataError

Skill = Literal["counting", "math", "logic", "path", "algebra", "measure", "spatial", "pattern", "order"]
"""What a puzzle needs most. The paper has eight skills; the published index has three puzzles of a
ninth type, "order", which the authors' table of results leaves out."""

INDEX = "SMART_info_v2.csv"

PUZZLES = 101
"""Number of root puzzles; their ids are 1 to 101."""


@dataclass(frozen=True)
class PuzzleInfo:
    """A root puzzle."""

    id: int

    skill: Skill

    difficulty: int
    """1 (easy), 2 (normal) or 3 (hard). The weight of the puzzle in WOSA."""


def read_index(folder: Path, bad: list[BadRow]) -> dict[int, PuzzleInfo]:
    """Read the index of a folder of puzzles, which is in the folder or next to it.

    Args:
        folder: the folder of puzzles.
        bad: rows that cannot be read are appended to it.

    Returns:
        Id -> puzzle.

    Raises:
        DataError: there is no index, or it cannot be read or has no puzzle.
    """
    path = next((place / INDEX for place in (folder, *folder.absolute().parents[:2]) if (place / INDEX).is_file()), None)
    if path is None:
        raise DataError(
            f"{folder}: the index {INDEX} is missing, which names the skill of each puzzle. Copy it there from the folder "
            "`dataset` of the authors' repository."
        )
    found = dict[int, PuzzleInfo]()
    for where, row in read_rows(path, bad):
        try:
            info = _info(row)
            if info.id in found:
                raise ValueError(f"puzzle {info.id} is there twice")
            found[info.id] = info
        except (KeyError, ValueError) as error:
            bad.append(BadRow(where, reason(error)))
    if not found:
        raise DataError(f"{path}: no puzzle in it ({len(bad)} bad rows). Give the authors' file.")
    return found


def _info(row: RawRow) -> PuzzleInfo:
    number, kind, level = text(row, "id"), text(row, "type").lower(), text(row, "difficulty")
    if not number.isdecimal() or not 1 <= int(number) <= PUZZLES:
        raise ValueError(f"the field 'id' is {number!r}, not a number from 1 to {PUZZLES}")
    skill = next((each for each in get_args(Skill) if each == kind), None)
    if skill is None:
        raise ValueError(f"the field 'type' is {kind!r}, but the types are {', '.join(get_args(Skill))}")
    if level not in ("1", "2", "3"):
        raise ValueError(f"the field 'difficulty' is {level!r}, not 1, 2 or 3")
    return PuzzleInfo(int(number), skill, int(level))
