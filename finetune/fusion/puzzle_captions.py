"""What pictures of generated puzzles show, to pre-train on: marks and their places, and facts.

A fact is a thing and its value: "red 3" is a red thing with the value 3. The question of the puzzle
is there too; neither its answer nor the puzzle's number is.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.progress import track

from espresso.datasets.raiv.situations import VisualReference
from espresso.datasets.smart101 import data
from espresso.datasets.smart101.facts import facts
from espresso.datasets.smart101.puzzles import Mark, instance, marks


@dataclass(frozen=True)
class PuzzlePicture:
    """A picture of a generated puzzle and what it shows."""

    visual: VisualReference

    question: str

    marks: tuple[Mark, ...]
    """What is drawn where."""

    facts: dict[str, str]
    """Thing -> value in words, see `espresso.datasets.smart101.facts`."""


def pictures(rows: int, *, held_out: bool = False) -> list[PuzzlePicture]:
    """Return pictures of the train rows of generated puzzles.

    Args:
        rows: pictures of each root puzzle.
        held_out: whether to leave out the puzzles of val and test in the puzzle split. Sequences
            are left out too, as in its train part.

    Raises:
        DataError: the pictures cannot be written to the cache.
    """
    found = list[PuzzlePicture]()
    rows_found = data.generate("ps-train" if held_out else "train", rows=rows).rows
    for each in track(rows_found, "reading puzzles", console=Console(stderr=True), transient=True):
        one = instance(each.row.puzzle, each.row.number)
        visual = VisualReference(path=str(each.image), kind="image")
        found.append(PuzzlePicture(visual, each.row.question, tuple(marks(one.picture)), facts(one.facts)))
    return found
