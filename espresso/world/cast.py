"""Who and what there is in the world, and what only the test split may show.

Things are a colour and a shape ("red square"), vehicles a colour and a kind ("red bus"). Train and test never share a seed, a
layout, a held-out thing, or a held-out (colour, act) pair: a model that answers on the test split has put known parts together
in new ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Split = Literal["train", "val", "test", "demo"]
SPLITS: tuple[Split, ...] = ("train", "val", "test", "demo")

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "blue": (38, 84, 218),
    "green": (36, 148, 62),
    "yellow": (242, 200, 30),
    "purple": (148, 52, 178),
    "black": (28, 28, 32),
}
SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
VEHICLES = ("car", "bus", "truck")
LAYOUTS = 12

TEST_LAYOUTS = (2, 5, 9)
TEST_THINGS = frozenset({
    ("red", "star"), ("blue", "cross"), ("green", "circle"),
    ("yellow", "triangle"), ("purple", "diamond"), ("black", "square"),
    ("red", "bus"), ("blue", "truck"), ("green", "car"),
})  # fmt: skip
TEST_ACTS = frozenset({
    ("red", "gives"), ("red", "scared"), ("blue", "pushes"), ("blue", "hides"), ("green", "hits"), ("green", "sad"),
    ("yellow", "follows"), ("yellow", "leaves"), ("purple", "hits"), ("purple", "angry"),
    ("black", "follows"), ("black", "turns"),
    ("red", "goes"), ("yellow", "goes"), ("purple", "crosses"), ("black", "waits"),
})  # fmt: skip
"""(colour of the one who acts, act) pairs that appear in no training clip."""


@dataclass(frozen=True)
class Thing:
    """A coloured shape or vehicle; its name is unique within a clip."""

    colour: str
    shape: str

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def held_out(self) -> bool:
        """Whether only test clips may show it."""
        return (self.colour, self.shape) in TEST_THINGS


def layouts(split: Split) -> tuple[int, ...]:
    """The layouts a split may use."""
    return TEST_LAYOUTS if split in ("test", "demo") else tuple(i for i in range(LAYOUTS) if i not in TEST_LAYOUTS)


def draw_cast(rng: np.random.Generator, count: int, split: Split) -> tuple[Thing, ...]:
    """So many things that share neither colour nor shape."""
    while True:
        colours = rng.permutation(list(COLOURS))[:count]
        shapes = rng.permutation(SHAPES)[:count]
        cast = tuple(Thing(str(colour), str(shape)) for colour, shape in zip(colours, shapes, strict=True))
        if split in ("test", "demo") or not any(thing.held_out for thing in cast):
            return cast


def draw_vehicles(rng: np.random.Generator, count: int, split: Split) -> tuple[Thing, ...]:
    """So many vehicles that share no colour."""
    while True:
        colours = rng.permutation(list(COLOURS))[:count]
        cast = tuple(Thing(str(colour), str(rng.choice(VEHICLES))) for colour in colours)
        if split in ("test", "demo") or not any(thing.held_out for thing in cast):
            return cast
