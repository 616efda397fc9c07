"""Spatial: sticks on top of each other, a hole through sheets, strips, stacks of cards.

The index calls the stacks of cards "order", as the official puzzle 18.
"""

from __future__ import annotations

from itertools import combinations
from math import cos, hypot, pi, sin
from random import Random
from typing import Any

from espresso.datasets.smart101.puzzles.base import Instance, Picture, RootPuzzle, arranged, by_colour, lettered
from espresso.datasets.smart101.puzzles.draw import COLOURS, INK, WHITE, Pen, Point, light

HEIGHTS = ("at the top", "the second from the top", "in the middle", "the second from the bottom", "at the bottom")
LENGTHS = ("longest", "second longest", "third longest", "second shortest", "shortest")
APART = 17.0
"""Least distance of two crossings of sticks, in pixels."""

SHEETS = 4
MARGIN = 7
"""Least distance of a point from the edge of a sheet, in pixels."""

Sheet = tuple[int, int, int, int]


def _sticks(rng: Random, place: int) -> Instance:
    lines = _crossing_lines(rng)
    asked = rng.randrange(5)
    numbers = [str(number) for number in rng.sample(range(1, 6), 5)]
    tones = rng.sample([light(colour) for colour in COLOURS.values()], 5)

    def draw(pen: Pen) -> None:
        for (angle, offset), number, tone in reversed(list(zip(lines, numbers, tones, strict=True))):
            ux, uy = cos(angle), sin(angle)
            x, y = 112 - offset * uy, 112 + offset * ux
            corners = [(x + a * ux - b * uy, y + a * uy + b * ux) for a, b in ((-90, -7), (90, -7), (90, 7), (-90, 7))]
            pen.shape(corners, tone, INK)
            pen.text(x + 82 * ux, y + 82 * uy, number, 15)

    text = rng.choice(["Five sticks lie on top of each other. Which stick is {}?", "Five sticks lie in a pile. Which one is {}?"])
    return Instance(
        text.format(HEIGHTS[asked]), arranged(rng, numbers, asked, place), place, {"from the top": numbers}, draw
    )  # fmt: skip


def _crossing_lines(rng: Random) -> list[tuple[float, float]]:
    """Return angle and distance from the centre of five lines whose crossings are apart."""
    while True:
        turn = rng.uniform(0, 36)
        lines, points = list[tuple[float, float]](), list[Point]()
        for index in range(5):
            for _ in range(12):
                line = ((turn + 36 * index + 180 * rng.randint(0, 1)) * pi / 180, rng.uniform(-34, 34))
                new = [_crossing(line, other) for other in lines]
                if _fits(line, lines, new, points):
                    lines.append(line)
                    points += new
                    break
            else:
                break
        if len(lines) == 5:
            rng.shuffle(lines)
            return lines


def _fits(line: tuple[float, float], lines: list[tuple[float, float]], new: list[Point], points: list[Point]) -> bool:
    """Return whether a stick crosses others within their length and apart from other crossings."""
    return (
        all(hypot(x, y) < 68 for x, y in new)
        and all(hypot(a[0] - b[0], a[1] - b[1]) > APART for a, b in combinations([*points, *new], 2))
        and all(_label_is_free(line, other) and _label_is_free(other, line) for other in lines)
    )


def _label_is_free(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether the number at the end of a stick is not under another stick."""
    (a, p), (b, q) = one, other
    x, y = 82 * cos(a) - p * sin(a), 82 * sin(a) + p * cos(a)
    return abs(y * cos(b) - x * sin(b) - q) > 16


def _crossing(one: tuple[float, float], other: tuple[float, float]) -> Point:
    """Return where two lines cross, relative to the centre."""
    (a, p), (b, q) = one, other
    factor = 1 / sin(b - a)
    return (p * cos(b) - q * cos(a)) * factor, (p * sin(b) - q * sin(a)) * factor


def _hole(rng: Random, place: int) -> Instance:
    sheets, points = _sheets(rng)
    asked = rng.randrange(5)
    letters = lettered(rng, asked, place)

    def draw(pen: Pen) -> None:
        for (x0, y0, x1, y1), colour in zip(sheets, COLOURS.values(), strict=False):
            pen.box(x0, y0, x1, y1, None, colour, 2.5)
        for letter, (x, y) in zip(letters, points, strict=True):
            pen.disc(x, y, 2.5, INK)
            pen.text(x + 9, y, letter, 13)

    some = "none" if asked == 0 else "all" if asked == SHEETS else f"exactly {asked}"
    text = f"Four pieces of paper are placed as shown. Michael punches a hole that goes through {some} of them. At which point?"
    return Instance(text, (), place, {"sheets": sheets, "points": dict(zip(letters, points, strict=True))}, draw)


def _sheets(rng: Random) -> tuple[list[Sheet], list[tuple[int, int]]]:
    """Return sheets of paper, and a point that lies in none, one, two, three and all of them."""
    while True:
        sheets = list[Sheet]()
        for _ in range(SHEETS):
            x, y = rng.randint(10, 80), rng.randint(10, 80)
            sheets.append((x, y, x + rng.randint(80, 130), y + rng.randint(80, 130)))
        found = dict[int, tuple[int, int]]()
        for _ in range(200):
            point = rng.randint(12, 206), rng.randint(12, 212)
            depth = sum(x0 <= point[0] <= x1 and y0 <= point[1] <= y1 for x0, y0, x1, y1 in sheets)
            clear = all(_clear(point, sheet) for sheet in sheets)
            if clear and all(hypot(point[0] - x, point[1] - y) > 24 for x, y in found.values()):
                found.setdefault(depth, point)
        if len(found) == SHEETS + 1:
            return sheets, [found[depth] for depth in range(SHEETS + 1)]


def _clear(point: tuple[int, int], sheet: Sheet) -> bool:
    """Return whether a point with its letter is away from the edges of a sheet."""
    (x, y), (x0, y0, x1, y1) = point, sheet
    inside = x0 + MARGIN < x < x1 - 2 * MARGIN and y0 + MARGIN < y < y1 - MARGIN
    outside = x < x0 - 2 * MARGIN or x > x1 + MARGIN or y < y0 - MARGIN or y > y1 + MARGIN
    return inside or outside


def _strips(rng: Random, place: int) -> Instance:
    lengths = sorted(rng.sample(range(40, 180, 14), 5), reverse=True)
    asked = rng.randrange(5)
    letters = lettered(rng, asked, place)
    strips = dict(sorted(zip(letters, lengths, strict=True)))
    starts = [rng.randint(36, 218 - length) for length in strips.values()]
    tones = rng.sample(list(COLOURS.values()), 5)

    def draw(pen: Pen) -> None:
        for row, ((letter, length), start, tone) in enumerate(zip(strips.items(), starts, tones, strict=True)):
            y = 26 + 43 * row
            pen.text(16, y, letter, 20)
            pen.box(start, y - 9, start + length, y + 9, light(tone), tone, 2)
            for x in (start + 7, start + length - 7):
                pen.disc(x, y, 3.5, WHITE)

    text = f"Eric has five metal strips. Which strip is the {LENGTHS[asked]}?"
    return Instance(text, (), place, {"strips": strips}, draw)


def _stacks(rng: Random, place: int) -> Instance:
    orders = set[tuple[int, ...]]()
    while len(orders) < 5:
        orders.add(tuple(rng.sample(range(1, 6), 3)))
    stacks = rng.sample(sorted(orders), 5)
    upwards = [rng.random() < 0.5 for _ in stacks]

    def picture(stacks: dict[str, Any]) -> Picture:
        centres = [(40, 60), (112, 60), (184, 60), (76, 168), (148, 168)]

        def draw(pen: Pen) -> None:
            for (x, y), up, (colour, order) in zip(centres, upwards, stacks.items(), strict=True):
                for height, number in enumerate(reversed(order)):
                    top = y - 18 + 24 * (1 - height if up else height - 1)
                    pen.box(x - 20, top, x + 20, top + 36, light(COLOURS[colour]), COLOURS[colour], 2)
                    covered = height < 2
                    pen.text(x, top + (24 if up and covered else 12 if covered else 18), number, 17)

        return draw

    text = (
        "Three square cards are stacked five times, as shown. The cards of the {colour} stack are removed one by one from the "
        "top. In what order are they removed?"
    )
    return by_colour(rng, place, text, stacks, lambda order: "-".join(map(str, order)), picture)


PUZZLES = (
    RootPuzzle(18, "order", 2, _stacks),
    RootPuzzle(44, "spatial", 2, _strips),
    RootPuzzle(55, "spatial", 1, _sticks),
    RootPuzzle(95, "spatial", 1, _hole),
)
