"""Counting: stars, spots of ladybugs, circles around a dot, pieces of a ribbon."""

from __future__ import annotations

from random import Random
from typing import Any

from espresso.datasets.smart101.puzzles.base import FIVE, Instance, Picture, RootPuzzle, by_colour, slots
from espresso.datasets.smart101.puzzles.draw import COLOURS, INK, WHITE, Pen, around

RADII = tuple(range(14, 100, 12))
"""Radii of the eight circles."""


def _stars(rng: Random, place: int) -> Instance:
    cells = rng.sample(slots(6, 6, 36, 36, 4, 4), 36)
    shifts = [(rng.uniform(-3, 3), rng.uniform(-3, 3)) for _ in cells]

    def picture(counts: dict[str, Any]) -> Picture:
        colours = [colour for colour, count in counts.items() for _ in range(count)]

        def draw(pen: Pen) -> None:
            for colour, (x, y), (dx, dy) in zip(colours, cells, shifts, strict=False):
                pen.star(x + dx, y + dy, 15, COLOURS[colour])

        return draw

    text = rng.choice(["How many {colour} stars are there?", "In the picture, there are stars. How many of them are {colour}?"])
    return by_colour(rng, place, text, rng.sample(range(1, 10), 5), int, picture)


def _ladybugs(rng: Random, place: int) -> Instance:
    bugs = rng.randint(1, 3)
    places = {spots: rng.sample(slots(4, 3, 13, 15, -26, -22.5), spots) for spots in range(1, 11)}

    def picture(spots: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for (x, y), (colour, count) in zip(FIVE, spots.items(), strict=True):
                pen.disc(x, y - 30, 12, INK)
                pen.disc(x, y, 34, COLOURS[colour], width=1.5)
                for dx, dy in places[count]:
                    pen.disc(x + dx, y + dy, 4.5, INK)

        return draw

    many = f"{bugs} ladybugs" if bugs > 1 else "one ladybug"
    text = f"The picture shows five ladybugs. How many spots are there on {many} like the {{colour}} one?"
    return by_colour(rng, place, text, rng.sample(range(1, 11), 5), lambda spots: bugs * spots, picture)


def _circles(rng: Random, place: int) -> Instance:
    angles = rng.sample(range(0, 360, 24), 5)

    def picture(depths: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for radius in RADII:
                pen.disc(112, 112, radius, width=0.8)
            for angle, (colour, depth) in zip(angles, depths.items(), strict=True):
                pen.disc(*around(112, 112, 105 - 12 * depth if depth < 8 else 0, angle), 5, COLOURS[colour], None)

        return draw

    text = rng.choice(["The {colour} dot is inside how many circles?", "How many circles are around the {colour} dot?"])
    return by_colour(rng, place, text, rng.sample(range(9), 5), int, picture)


def _ribbons(rng: Random, place: int) -> Instance:
    left, right = rng.randint(14, 60), rng.randint(164, 210)

    def picture(cuts: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for row, (colour, count) in enumerate(cuts.items()):
                points = []
                for number in range(count):
                    ends = [(left, 8 + 43 * row + 6 * number), (right, 8 + 43 * row + 6 * number)]
                    points += ends[::-1] if number % 2 else ends
                pen.line(points, COLOURS[colour], 2)
            pen.dashed((112, 0), (112, 224))
            for x in (106, 118):
                pen.disc(x, 219, 4, WHITE)

        return draw

    text = "The scissors cut along the dashed line. Into how many pieces do they cut the {colour} ribbon?"
    return by_colour(rng, place, text, rng.sample(range(1, 8), 5), lambda cuts: cuts + 1, picture)


PUZZLES = (
    RootPuzzle(2, "counting", 1, _stars),
    RootPuzzle(42, "counting", 1, _ladybugs),
    RootPuzzle(53, "counting", 1, _circles),
    RootPuzzle(97, "counting", 1, _ribbons),
)
