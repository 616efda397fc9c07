"""Training examples of an LVLM: puzzles, with what a generated picture shows as evidence.

The answer is the text of the correct option.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from espresso.datasets.base import Example, LoadedExamples
from espresso.datasets.frames import VideoFrame
from espresso.datasets.rows import BadRow
from espresso.datasets.smart101 import data
from espresso.datasets.smart101.evidence import evidence_of
from espresso.datasets.smart101.puzzles import PUZZLES, instance
from espresso.errors import DataError


def examples(
    split: Literal["train", "val"],
    count: int | None,
    *,
    folder: Path | None = None,
    evidence: bool = True,
    only: Collection[int] = tuple(PUZZLES),
) -> LoadedExamples:
    """Return examples of the instance split, the root puzzles in turn.

    Args:
        split: "train" or "val".
        count: number of puzzles; None is all.
        folder: the puzzles as published, which have no evidence; None generates them.
        evidence: whether evidence is required.
        only: root puzzles to generate.

    Raises:
        DataError: the folder cannot be read, the images cannot be written to the cache, or evidence
            is required of published puzzles.
    """
    if folder and evidence:
        raise DataError(f"{folder}: published puzzles have no evidence. Set `evidence: none` in the section `answer`.")
    loaded = data.read(folder, split, count) if folder else data.generate(split, count, rows=None, only=only)
    found = tuple(_example(each, generated=folder is None) for each in loaded.rows)
    bad = (*loaded.bad, *(BadRow(image, "the image was not found") for image in loaded.missing))
    return LoadedExamples(found, bad, loaded.notes)


def _example(puzzle: data.PuzzleQuestion, *, generated: bool) -> Example:
    row = puzzle.row
    return Example(
        id=row.id,
        question=row.question,
        frames=(VideoFrame(str(puzzle.image), 0.0),),
        evidence=evidence_of(row.question, instance(row.puzzle, row.number).facts) if generated else "",
        answer=row.options[row.answer],
        options=row.options,
    )
