"""The rows of a split with their images: of a folder of puzzles, or generated.

`espresso.datasets.smart101.questions` makes questions of them, for evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, zip_longest
from pathlib import Path
from typing import cast

from espresso.datasets.rows import BadRow, reason
from espresso.datasets.smart101 import make, puzzles, splits
from espresso.datasets.smart101.index import INDEX, PuzzleInfo, Skill, read_index
from espresso.datasets.smart101.rows import PuzzleFile, PuzzleRow, images, puzzle_folder, puzzle_ids, read_puzzle
from espresso.datasets.smart101.splits import Kind, Part
from espresso.datasets.smart101.values import Value, value_of
from espresso.errors import DataError

SPLITS = tuple(f"{kind}{part}" for kind in ("", "ps-", "as-", "fs-") for part in ("test", "val", "train"))
"""Names of the parts of splits; the instance split is the default and has no prefix."""

ICONS = "icon-classes.txt"
"""The names of the answers of puzzle 1, next to the index."""

GENERATED = 20
"""Generated rows of each puzzle in a part without a limit."""


@dataclass(frozen=True)
class PuzzleQuestion:
    """A row with what belongs to it."""

    row: PuzzleRow

    skill: Skill

    difficulty: int
    """1 to 3."""

    image: Path


@dataclass(frozen=True)
class LoadedPuzzles:
    """Rows of a part of a split: the first row of each puzzle, then the second of each."""

    rows: list[PuzzleQuestion]

    bad: tuple[BadRow, ...] = ()

    missing: tuple[str, ...] = ()
    """Images that were not found, such as "2/img/15.png"."""

    notes: tuple[str, ...] = ()

    icons: tuple[str, ...] = ()
    """The names of the icons of puzzle 1, see `value_of`."""

    def value(self, row: PuzzleRow) -> Value:
        """Return the value of the answer of a row. Raises ValueError if it has none."""
        return value_of(row.puzzle, row.options[row.answer], self.icons)


def kind_and_part(split: str) -> tuple[Kind, Part]:
    """Return the split and the part that a name of `SPLITS` means: "ps-test" or "val"."""
    kind, _, part = split.rpartition("-")
    return cast(Kind, kind or "is"), cast(Part, part)


def read(path: Path, split: str, limit: int | None = None, pictures: Path | None = None) -> LoadedPuzzles:
    """Read the rows of a part of a split in the published layout.

    Args:
        path: the folder SMART101-Data, or the folder of the release.
        split: one of `SPLITS`.
        limit: number of rows; None is all.
        pictures: folder with the folders of images; None is the folder of the rows.

    Raises:
        DataError: there are no puzzles or no index, or no row can be used.
    """
    folder, (kind, part) = puzzle_folder(path), kind_and_part(split)
    bad, notes, missing = list[BadRow](), list[str](), list[str]()
    index = read_index(folder, bad)
    icons = _icons(folder)
    available = [puzzle for puzzle in puzzle_ids(folder) if puzzle in index]
    unknown = [str(puzzle) for puzzle in puzzle_ids(folder) if puzzle not in index]
    if unknown:
        notes.append(f"folders without a row in {INDEX} are left out: {', '.join(unknown)}")
    wanted = splits.puzzles_of(kind, part, sorted(index))
    if absent := [str(puzzle) for puzzle in wanted if puzzle not in available]:
        notes.append(f"puzzles of the split {split} without a folder: {len(absent)} ({', '.join(absent)})")
    found = list[list[PuzzleQuestion]]()
    for puzzle in splits.puzzles_of(kind, part, available):
        file = read_puzzle(folder, puzzle, bad, notes)
        if splits.needs_values(kind, puzzle):
            file = _with_values(file, icons, bad)
        here = images(pictures or folder, puzzle)
        rows = list[PuzzleQuestion]()
        for row in splits.rows_of(kind, part, puzzle, file, lambda row: _value(row, icons)):
            place = Path(str(puzzle), "img", row.image)
            if row.image in here:
                rows.append(_located(row, index, (pictures or folder) / place))
            else:
                missing.append(place.as_posix())
        found.append(rows)
    questions = _in_turn(found, limit)
    if not questions and not missing:
        first = f" The first: {bad[0]}." if bad else ""
        raise DataError(f"{folder}: no question of the split {split} in it ({len(bad)} bad rows).{first}")
    return LoadedPuzzles(questions, tuple(bad), tuple(missing), tuple(notes), icons)


def generate(
    split: str,
    limit: int | None = None,
    on_image: Callable[[int, int], None] | None = None,
    *,
    rows: int | None = GENERATED,
    only: Collection[int] = tuple(puzzles.PUZZLES),
) -> LoadedPuzzles:
    """Generate rows of a part of a split, with images in the cache folder.

    The rows are those that `espresso smart101 build --count 2000` writes.

    Args:
        split: one of `SPLITS`.
        limit: number of rows; None is all.
        on_image: called with (images done, all images) while images are drawn.
        rows: the most rows of each puzzle, if there is no limit; None is all.
        only: root puzzles to generate.

    Raises:
        DataError: the images cannot be written.
    """
    kind, part = kind_and_part(split)
    wanted = [puzzle for puzzle in splits.puzzles_of(kind, part, list(puzzles.PUZZLES)) if puzzle in only]
    most = -(-limit // len(wanted)) if limit else rows
    index = {puzzle.id: PuzzleInfo(puzzle.id, puzzle.skill, puzzle.difficulty) for puzzle in puzzles.PUZZLES.values()}
    found = [_generated(kind, part, puzzle, most) for puzzle in wanted]
    paths = make.cached_images([(row.puzzle, row.number) for each in found for row in each], on_image)
    located = [[_located(row, index, paths[row.puzzle, row.number]) for row in each] for each in found]
    return LoadedPuzzles(_in_turn(located, limit))


@cache
def _generated(kind: Kind, part: Part, puzzle: int, most: int | None) -> list[PuzzleRow]:
    """Return the first generated rows of a puzzle in a part."""
    if not splits.needs_values(kind, puzzle):
        return [make.row_of(puzzle, number) for number in splits.numbers_of(kind, part, puzzle, splits.ROWS)[:most]]
    file = PuzzleFile(tuple(make.row_of(puzzle, number) for number in range(splits.ROWS)), splits.ROWS)
    return splits.rows_of(kind, part, puzzle, file, lambda row: _value(row, ()))[:most]


def _value(row: PuzzleRow, icons: Sequence[str]) -> Value:
    return value_of(row.puzzle, row.options[row.answer], icons)


def _with_values(file: PuzzleFile, icons: Sequence[str], bad: list[BadRow]) -> PuzzleFile:
    """Leave out the rows whose answer has no value."""
    kept = list[PuzzleRow]()
    for row in file.rows:
        try:
            _value(row, icons)
            kept.append(row)
        except ValueError as error:
            bad.append(BadRow(f"{row.puzzle}/puzzle_{row.puzzle}.csv, row {row.number + 1}", reason(error)))
    return PuzzleFile(tuple(kept), file.size)


def _located(row: PuzzleRow, index: dict[int, PuzzleInfo], image: Path) -> PuzzleQuestion:
    info = index[row.puzzle]
    return PuzzleQuestion(row, info.skill, info.difficulty, image)


def _in_turn(found: Iterable[list[PuzzleQuestion]], limit: int | None) -> list[PuzzleQuestion]:
    """Return the first row of each puzzle, then the second of each, up to a limit."""
    return list(islice((row for rows in zip_longest(*found) for row in rows if row is not None), limit))


def _icons(folder: Path) -> tuple[str, ...]:
    path = next((place / ICONS for place in (folder, *folder.absolute().parents[:2]) if (place / ICONS).is_file()), None)
    return (
        tuple(line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines() if line.strip())
        if path
        else ()
    )
