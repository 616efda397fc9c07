"""Algebra: trade of gems, numbers under flowers, a hidden petal."""

from __future__ import annotations

from random import Random
from typing import Any

from espresso.datasets.smart101.puzzles.base import Instance, Picture, RootPuzzle, by_colour
from espresso.datasets.smart101.puzzles.draw import COLOURS, GREY, INK, PALE, WHITE, Pen, around, light


def _trade(rng: Random, place: int) -> Instance:
    gems, each = rng.randint(1, 4), rng.randint(2, 4)

    def picture(stones: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for row, (colour, count) in enumerate(stones.items()):
                y = 20 + 35 * row
                pen.shape([(40, y - 14), (58, y), (40, y + 14), (22, y)], COLOURS[colour], INK)
                pen.text(84, y, "=", 20)
                for number in range(count):
                    pen.disc(106 + 15 * number, y, 6.5, GREY)
            pen.line([(8, 187), (216, 187)], INK, 1)
            pen.disc(40, 206, 6.5, GREY)
            pen.text(84, 206, "=", 20)
            for number in range(each):
                _flower(pen, 112 + 30 * number, 206, 11, COLOURS["red"])

        return draw

    text = (
        "In the country of jewelries, you can trade each gem for the stones next to it, and each stone for the flowers at the "
        f"bottom. How many flowers can you get for {f'{gems} {{colour}} gems' if gems > 1 else 'one {colour} gem'}?"
    )
    return by_colour(rng, place, text, rng.sample(range(1, 9), 5), lambda stones: gems * stones * each, picture, each=each)


def _flower(pen: Pen, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
    for petal in range(5):
        pen.disc(*around(x, y, radius * 0.62, 72 * petal), radius * 0.42, colour, None)
    pen.disc(x, y, radius * 0.32, (255, 220, 60), None)


def _hidden(rng: Random, place: int) -> Instance:
    rows = [_equation(rng, hidden) for hidden in rng.sample(range(1, 13), 5)]

    def picture(equations: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for row, (colour, (first, sign, result)) in enumerate(equations.items()):
                y = 24 + 44 * row
                pen.text(36, y, first, 24)
                pen.text(74, y, "+" if sign > 0 else "-", 24)
                _flower(pen, 112, y, 22, COLOURS[colour])
                pen.text(150, y, "=", 24)
                pen.text(190, y, result, 24)

        return draw

    text = rng.choice(
        ["What number is covered by the {colour} flower?", "The {colour} flower covers a number. Which number is it?"]
    )
    return by_colour(rng, place, text, rows, lambda row: row[1] * (row[2] - row[0]), picture)


def _equation(rng: Random, hidden: int) -> tuple[int, int, int]:
    """Return first number, sign and result of an equation with this number after the sign."""
    sign = rng.choice((1, -1))
    first = rng.randint(1, 15) if sign > 0 else hidden + rng.randint(0, 15)
    return first, sign, first + sign * hidden


def _petals(rng: Random, place: int) -> Instance:
    total = rng.randint(13, 22)
    whole = _parts(rng, total, 3)
    pairs = [_parts(rng, total - hidden, 2) for hidden in rng.sample(range(1, 10), 5)]

    def picture(shown: dict[str, Any]) -> Picture:
        places = rng.sample([(x, y) for y in (58, 166) for x in (38, 112, 186)], 6)
        turns = [rng.choice((0, 120, 240)) for _ in range(5)]

        def draw(pen: Pen) -> None:
            _petalled(pen, *places[0], whole, 0, PALE)
            for (x, y), turn, (colour, pair) in zip(places[1:], turns, shown.items(), strict=True):
                _petalled(pen, x, y, (*pair, "?"), turn, light(COLOURS[colour]), COLOURS[colour])

        return draw

    text = (
        "A number is written on each petal of the flowers. The numbers on each flower have the same sum. "
        "What number is hidden on the {colour} flower?"
    )
    return by_colour(rng, place, text, pairs, lambda pair: total - sum(pair), picture, whole=whole)


def _parts(rng: Random, total: int, count: int) -> tuple[int, ...]:
    """Return numbers of 1 to 15 with this sum."""
    while True:
        parts = tuple(rng.randint(1, min(15, total - 1)) for _ in range(count))
        if sum(parts) == total:
            return parts


def _petalled(
    pen: Pen, x: float, y: float, petals: tuple[object, ...], turn: float, fill: tuple[int, int, int],
    edge: tuple[int, int, int] = INK,
) -> None:  # fmt: skip
    for number, petal in enumerate(petals):
        px, py = around(x, y, 20, turn + 120 * number)
        pen.disc(px, py, 16, fill, edge, 2)
        pen.text(px, py, petal, 17)
    pen.disc(x, y, 5, WHITE, edge)


PUZZLES = (
    RootPuzzle(7, "algebra", 1, _trade),
    RootPuzzle(28, "algebra", 1, _hidden),
    RootPuzzle(76, "algebra", 2, _petals),
)
