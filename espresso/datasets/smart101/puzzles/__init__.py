"""Generated puzzles: variations of 31 official root puzzles, with pictures of our own.

A generated puzzle has the id, skill, difficulty and kind of answer of the official one that it
resembles, so that the splits, the values of answers and the index apply to it. An instance is a
function of the seed, the puzzle and its number. Of five instances in a row, each has the correct
option at another letter.
"""

from __future__ import annotations

from random import Random

from espresso.datasets.smart101.puzzles import algebra, arithmetic, counting, logic, measure, paths, pattern, spatial
from espresso.datasets.smart101.puzzles.base import Instance, RootPuzzle
from espresso.datasets.smart101.puzzles.draw import SIZE, Mark, mark_words, marks, rendered

__all__ = ["PUZZLES", "SIZE", "Instance", "Mark", "RootPuzzle", "instance", "mark_words", "marks", "rendered"]

_MODULES = (algebra, arithmetic, counting, logic, measure, paths, pattern, spatial)

PUZZLES = {
    puzzle.id: puzzle for puzzle in sorted((each for module in _MODULES for each in module.PUZZLES), key=lambda each: each.id)
}
"""Id -> puzzle, by id."""


def instance(puzzle: int, number: int, seed: int = 0) -> Instance:
    """Draw an instance of a generated puzzle.

    Args:
        puzzle: id of the puzzle, one of `PUZZLES`.
        number: number of the instance, from 0.
        seed: instances of different seeds are different.
    """
    places = list(range(5))
    Random(f"{seed} {puzzle} {number // 5} places").shuffle(places)
    return PUZZLES[puzzle].make(Random(f"{seed} {puzzle} {number}"), places[number % 5])
