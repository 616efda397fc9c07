"""What all generated puzzles share: instances, and how their options are drawn.

A picture shows five things that could be asked about, and the question says which one is. The five
options are the five answers. What is asked is drawn last and independently, so the picture and the
options do not give it away; and the things have exchangeable values, so neither do the question and
the options. Without one of the two, the best guess is right in one case of five.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from espresso.datasets.smart101.index import Skill
from espresso.datasets.smart101.puzzles.draw import COLOURS, Pen

LETTERS = ("A", "B", "C", "D", "E")

Picture = Callable[[Pen], None]


@dataclass(frozen=True)
class Instance:
    """A puzzle to solve."""

    question: str

    options: tuple[str, ...]
    """The texts of the five options; empty if the picture shows them by their letters."""

    answer: int
    """Index of the correct option."""

    facts: Mapping[str, Any]
    """What the picture shows: with the question, enough to solve the puzzle."""

    picture: Picture
    """Draws the picture."""


@dataclass(frozen=True)
class RootPuzzle:
    """A puzzle of which instances are drawn."""

    id: int
    """Id of the official puzzle that it resembles: it has its skill and its kind of answer."""

    skill: Skill

    difficulty: int
    """As in the official index, 1 to 3."""

    make: Callable[[Random, int], Instance]
    """Draws an instance, from a source of randomness and the index of the correct option."""


def by_colour(
    rng: Random,
    place: int,
    question: str,
    values: Sequence[Any],
    answer: Callable[[Any], object],
    picture: Callable[[dict[str, Any]], Picture],
    **facts: Any,
) -> Instance:
    """Return a puzzle about one of five things of different colours.

    Args:
        rng: source of randomness.
        place: index of the correct option.
        question: the question with `{colour}`.
        values: what is true of each thing; their answers differ.
        answer: returns the answer from the value of a thing.
        picture: returns the picture from colour -> value, in an order that does not matter.
        facts: what else the picture shows.
    """
    names = rng.sample(sorted(COLOURS), 5)
    things = dict(zip(names, values, strict=True))
    asked = rng.randrange(5)
    answers = [str(answer(value)) for value in values]
    text = question.format(colour=names[asked])
    return Instance(text, arranged(rng, answers, asked, place), place, {"things": things, **facts}, picture(things))


def arranged(rng: Random, answers: Sequence[str], asked: int, place: int) -> tuple[str, ...]:
    """Return five answers in random order, but the asked one at its place."""
    others = [answer for index, answer in enumerate(answers) if index != asked]
    rng.shuffle(others)
    return (*others[:place], answers[asked], *others[place:])


def lettered(rng: Random, asked: int, place: int) -> tuple[str, ...]:
    """Return the letters of five things in random order, the correct one for the asked thing."""
    return arranged(rng, [*LETTERS[:place], *LETTERS[place + 1 :], LETTERS[place]], 4, asked)


def slots(columns: int, rows: int, width: float, height: float, x: float = 0, y: float = 0) -> list[tuple[float, float]]:
    """Return the centres of the cells of a grid, row by row."""
    return [(x + width * (column + 0.5), y + height * (row + 0.5)) for row in range(rows) for column in range(columns)]


FIVE = ((40.0, 60.0), (112.0, 60.0), (184.0, 60.0), (76.0, 164.0), (148.0, 164.0))
"""Centres of five things in two rows."""
