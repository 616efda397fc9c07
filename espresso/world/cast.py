"""The things of the world, and what is held out for the test split.

A thing is a colour and a shape ("red square") or a colour and a vehicle ("red bus"). Train and test
share no seed, layout, held-out thing or held-out pair of colour and verb, so the test split
measures compositional generalization.
"""

from __future__ import annotations

import re
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
"""Colour name -> RGB."""

SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
VEHICLES = ("car", "bus", "truck")
LAYOUTS = 12
"""Number of layouts: floor colour, positions at home, side of the wall, lamp or traffic light."""

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
"""(colour of the doer, verb or mood) pairs that occur in no training clip."""


@dataclass(frozen=True)
class Thing:
    """A coloured shape or vehicle. Its name is unique within a clip."""

    colour: str
    """A key of `COLOURS`."""

    shape: str
    """One of `SHAPES` or `VEHICLES`."""

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def held_out(self) -> bool:
        """Whether the thing is reserved for test clips."""
        return (self.colour, self.shape) in TEST_THINGS


THING = re.compile(rf"\b(?:{'|'.join(COLOURS)}) (?:{'|'.join((*SHAPES, *VEHICLES))})\b")
"""A colour and a shape or vehicle."""

_TURNS = re.compile(r"\b(\w+) turns (\w+)\b")


def things_in(text: str) -> list[str]:
    """Return the things that captions or evidence name, each once, in order.

    In "star turns black", the frame shows a black star.
    """
    return list(dict.fromkeys(THING.findall(_TURNS.sub(r"\2 \1", text))))


def layouts(split: Split) -> tuple[int, ...]:
    """Return the layouts of a split."""
    return TEST_LAYOUTS if split in ("test", "demo") else tuple(i for i in range(LAYOUTS) if i not in TEST_LAYOUTS)


def draw_cast(rng: np.random.Generator, count: int, split: Split) -> tuple[Thing, ...]:
    """Draw `count` things that differ in colour and shape."""
    while True:
        colours = rng.permutation(list(COLOURS))[:count]
        shapes = rng.permutation(SHAPES)[:count]
        cast = tuple(Thing(str(colour), str(shape)) for colour, shape in zip(colours, shapes, strict=True))
        if split in ("test", "demo") or not any(thing.held_out for thing in cast):
            return cast


def draw_vehicles(rng: np.random.Generator, count: int, split: Split) -> tuple[Thing, ...]:
    """Draw `count` vehicles that differ in colour."""
    while True:
        colours = rng.permutation(list(COLOURS))[:count]
        cast = tuple(Thing(str(colour), str(rng.choice(VEHICLES))) for colour in colours)
        if split in ("test", "demo") or not any(thing.held_out for thing in cast):
            return cast
