"""What pictures of generated puzzles show, to pre-train on: marks and their places, and facts.

A fact is a thing and its value: "red 3" is a red thing with the value 3. The question of the puzzle
is there too; neither its answer nor the puzzle's number is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import track

from espresso.datasets.raiv.situations import VisualReference
from espresso.datasets.smart101 import data
from espresso.datasets.smart101.puzzles import Mark, instance, marks

MOST_WORDS = 10
"""Longest fact that is used."""


@dataclass(frozen=True)
class PuzzlePicture:
    """A picture of a generated puzzle and what it shows."""

    visual: VisualReference

    question: str

    marks: tuple[Mark, ...]
    """What is drawn where."""

    facts: dict[str, str]
    """Thing -> value in words. Things with several values, such as the arrows of one picture, are
    left out."""


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


def facts(shown: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts of an instance: {"red": "3", "start": "4"}."""
    phrases = [(str(name).lower(), [*_words(value)]) for name, value in _named(shown)]
    counts = Counter(name for name, _ in phrases)
    return {name: " ".join(words).lower() for name, words in phrases if counts[name] == 1 and len(words) < MOST_WORDS}


def _named(shown: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the facts by name; each item of a list of tuples is one, such as an arrow."""
    for name, value in shown.items():
        if isinstance(value, Mapping):
            yield from value.items()
        elif isinstance(value, list) and isinstance(value[0], tuple):
            yield from ((name, each) for each in value)
        else:
            yield name, value


def _words(value: Any) -> Iterator[str]:
    """Yield the words of a fact; a word in capitals is shown as letters."""
    if isinstance(value, Sequence) and (not isinstance(value, str) or (value.isupper() and len(value) > 1)):
        for each in value:
            yield from _words(each)
    else:
        yield str(value)
