"""What pictures of generated puzzles show, to train on: marks and their places, and facts.

A fact is a thing and its value: "red 3" is a red thing with the value 3. The question of the puzzle
is there too; neither its answer nor the puzzle's number is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track

from espresso.datasets.raiv.situations import VisualReference
from espresso.datasets.smart101 import data
from espresso.datasets.smart101.facts import facts
from espresso.datasets.smart101.puzzles import PUZZLES, Mark, instance, marks


@dataclass(frozen=True)
class PuzzlePicture:
    """A picture of a generated puzzle and what it shows."""

    visual: VisualReference

    question: str

    marks: tuple[Mark, ...]
    """What is drawn where."""

    facts: dict[str, str]
    """Thing -> value in words, see `espresso.datasets.smart101.facts`."""

    def values_at_marks(self) -> Iterator[tuple[Mark, str]]:
        """Yield the marks whose words name things, with the values of these things."""
        for name, value in self.facts.items():
            yield from ((mark, value) for mark in self.marks if mark.word == name)


def pictures(split: str, rows: int, only: Collection[int] = tuple(PUZZLES)) -> list[PuzzlePicture]:
    """Return pictures of generated puzzles.

    Args:
        split: a part of a split of SMART-101, such as "train" or "ps-train". The latter lacks the
            puzzles of val and test in the puzzle split, and sequences, as there.
        rows: pictures of each root puzzle.
        only: root puzzles.

    Raises:
        DataError: the pictures cannot be written to the cache.
    """
    found = list[PuzzlePicture]()
    generated = data.generate(split, rows=rows, only=only).rows
    for each in track(generated, "reading puzzles", console=Console(stderr=True), transient=True):
        one = instance(each.row.puzzle, each.row.number)
        visual = VisualReference(path=str(each.image), kind="image")
        found.append(PuzzlePicture(visual, each.row.question, tuple(marks(one.picture)), facts(one.facts)))
    return found
