"""The four splits: instances (IS), puzzles (PS), answers (AS) and few-shot (FS).

Numbers and rules are those of the authors' code, commit a2b6b9d of github.com/merlresearch/SMART:
- the ratio 80:5:15 in file order is the default `--split_ratio` in `main.py`, and 2,000 rows the
  default `--data_tot`; the bounds are those of `split_data` in `data_loader.py`;
- `VAL` and `TEST` are `PS_VAL_IDX` and `PS_TEST_IDX` in `globvars.py`;
- PS, too, takes the first 80 % of the rows of the train puzzles, the next 5 % of the val puzzles
  and the last 15 % of the test puzzles, and leaves out sequences (`--monolithic`, `main.py`);
- AS leaves one value out of train and val (`split_data`, "exclude"): of the values of more than
  1 % of the rows, the largest one that is not more frequent than the median (the histogram counts
  the largest value of all with the one before). Rows with it are the test; of the others, the first
  95 % are train and the rest is val. Sequences and puzzle 58 are split as in IS;
- FS trains on 80 % of the rows of the train puzzles and 80 % of the first `SHOTS` rows of the
  others (`--fsK` 100, of which `split_data` takes its share again), and tests on the others without
  these `SHOTS` rows.

Not verified: the paper says nothing on the row ranges of PS, and later papers count all rows of
each puzzle (arXiv 2406.05318: 154K, 6K and 42K, which is 77, 3 and 21 puzzles with 2,000 rows).
Their split has the same puzzles, but more rows. The challenge's own test set is not public.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from espresso.datasets.smart101.rows import PuzzleFile, PuzzleRow
from espresso.datasets.smart101.values import OPERATORS, SEQUENCES, Value

Kind = Literal["is", "ps", "as", "fs"]
Part = Literal["train", "val", "test"]

PARTS: tuple[Part, ...] = ("train", "val", "test")
BOUNDS = {"train": (0, 80), "val": (80, 85), "test": (85, 100)}
"""Percent of the rows at which each part starts and ends."""

ROWS = 2000
"""Rows of each puzzle that are used, the first ones."""

SHOTS = 100
"""Rows of each val and test puzzle of which FS trains."""

VAL = (7, 43, 64)
"""Puzzles of val in PS and FS."""

TEST = (94, 95, 96, 97, 98, 99, 101, 61, 62, 65, 66, 67, 69, 70, 71, 72, 73, 74, 75, 76, 77)
"""Puzzles of test in PS and FS."""

RARE = 0.01
"""Share of the rows up to which a value is not left out in AS."""


def puzzles_of(kind: Kind, part: Part, available: Sequence[int]) -> list[int]:
    """Return the puzzles of which a part of a split has rows."""
    if kind in ("is", "as") or (kind == "fs" and part == "train"):
        return list(available)
    if part != "train":
        return [puzzle for puzzle in {"val": VAL, "test": TEST}[part] if puzzle in available]
    return [puzzle for puzzle in available if puzzle not in (*VAL, *TEST) and puzzle not in SEQUENCES]


def rows_of(kind: Kind, part: Part, puzzle: int, file: PuzzleFile, value: Callable[[PuzzleRow], Value]) -> list[PuzzleRow]:
    """Return the rows of a puzzle in a part of a split.

    Args:
        kind: the split.
        part: the part.
        puzzle: id of a root puzzle, one of `puzzles_of`.
        file: its rows.
        value: returns the value of the answer of a row; only AS calls it.
    """
    if needs_values(kind, puzzle):
        rows = [row for row in file.rows if row.number < ROWS]
        return _without_answer(part, rows, [value(row)[0] for row in rows])
    numbers = numbers_of(kind, part, puzzle, file.size)
    return [row for row in file.rows if row.number in numbers]


def needs_values(kind: Kind, puzzle: int) -> bool:
    """Return whether the values of the answers decide to which part a row belongs."""
    return kind == "as" and puzzle not in SEQUENCES and puzzle != OPERATORS


def numbers_of(kind: Kind, part: Part, puzzle: int, size: int) -> range:
    """Return the positions of the rows of a puzzle in a part, if values do not decide.

    Args:
        kind: the split.
        part: the part.
        puzzle: id of a root puzzle, one of `puzzles_of`.
        size: number of rows of its file.
    """
    start, end = 0, min(size, ROWS)
    if kind == "fs" and puzzle in (*VAL, *TEST):
        start, end = (0, min(SHOTS, end)) if part == "train" else (min(SHOTS, end), end)
    first, last = _range(end - start, *BOUNDS[part])
    return range(start + first, start + last)


def left_out(values: Sequence[int]) -> int | None:
    """Return the value that AS leaves out of train; None if there are too few values."""
    if not values or max(values) < 1:
        return None
    classes = np.arange(max(values) + 1)
    counts = np.histogram(values, classes)[0]
    shares = counts / max(1, counts.sum())
    frequent = np.flatnonzero(shares > RARE)
    if not len(frequent):
        return None
    return int(frequent[shares[frequent] <= np.median(shares[frequent])][-1])


def _range(size: int, start: int, end: int) -> tuple[int, int]:
    """Return the first position of a part, and the one after the last."""
    return math.ceil(size * start / 100), math.floor(size * end / 100)


def _without_answer(part: Part, rows: Sequence[PuzzleRow], values: Sequence[int]) -> list[PuzzleRow]:
    hidden = left_out(values)
    if part == "test":
        return [row for row, value in zip(rows, values, strict=True) if value == hidden]
    others = [row for row, value in zip(rows, values, strict=True) if value != hidden]
    first, last = _range(len(others), *{"train": (0, 95), "val": (95, 100)}[part])
    return others[first:last]
