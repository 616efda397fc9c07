"""What pictures of generated puzzles show, as situations to pre-train on.

Each fact of a picture is a "noun": "red 3" is a red thing with the value 3, so a caption is "the
picture shows a red 3, a blue 7". Nothing says what a question asks, nor which puzzle it is: with
its skill in it, a caption of another puzzle was known not to match without a look at the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import track

from espresso.datasets.raiv.situations import Situation, VisualReference
from espresso.datasets.smart101 import data
from espresso.datasets.smart101.puzzles import instance


def situations(rows: int, *, held_out: bool = False) -> list[Situation]:
    """Return situations of pictures of the train rows of generated puzzles.

    Args:
        rows: pictures of each root puzzle.
        held_out: whether to leave out the puzzles of val and test in the puzzle split. Sequences
            are left out too, as in its train part.

    Raises:
        DataError: the pictures cannot be written to the cache.
    """
    found = data.generate("ps-train" if held_out else "train", rows=rows)
    return [
        Situation(
            id=each.row.id,
            split="train",
            visual=VisualReference(path=str(each.image), kind="image"),
            verb="",
            roles={},
            objects=facts(instance(each.row.puzzle, each.row.number).facts),
        )
        for each in track(found.rows, "reading puzzles", console=Console(stderr=True), transient=True)
    ]


MOST_WORDS = 10
"""Longest fact that a caption says."""


def facts(shown: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the facts of an instance as phrases, sorted: "red 3", "start 4"."""
    phrases = [[str(name), *_words(value)] for name, value in _named(shown)]
    return tuple(sorted(" ".join(words).lower() for words in phrases if len(words) <= MOST_WORDS))


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
