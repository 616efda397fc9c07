"""Math: sums in squares, cars of trains, a walk along a wall, prices, the largest number."""

from __future__ import annotations

from random import Random
from typing import Any

from espresso.datasets.smart101.puzzles.base import FIVE, Instance, Picture, RootPuzzle, by_colour, lettered
from espresso.datasets.smart101.puzzles.draw import COLOURS, GREY, INK, WHITE, Pen, light


def _squares(rng: Random, place: int) -> Instance:
    triples = [_triple(rng, total) for total in rng.sample(range(6, 22), 5)]

    def picture(numbers: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for (x, y), (colour, three) in zip(FIVE, numbers.items(), strict=True):
                pen.box(x - 32, y - 32, x + 32, y + 32, None, COLOURS[colour], 3)
                for (dx, dy), number in zip(((-14, -12), (14, -12), (0, 14)), three, strict=True):
                    pen.text(x + dx, y + dy, number, 20)

        return draw

    text = "The picture shows fifteen numbers. What is the sum of the numbers inside the {colour} square?"
    return by_colour(rng, place, text, triples, sum, picture)


def _triple(rng: Random, total: int) -> tuple[int, ...]:
    while True:
        three = tuple(rng.randint(1, 9) for _ in range(3))
        if sum(three) == total:
            return three


def _trains(rng: Random, place: int) -> Instance:
    car = rng.randint(3, 9)

    def picture(firsts: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for row, (colour, first) in enumerate(firsts.items()):
                y = 24 + 43 * row
                for number in range(4):
                    x = 12 + 50 * number
                    pen.box(x, y - 14, x + 44, y + 8, light(COLOURS[colour]), COLOURS[colour], 2)
                    pen.disc(x + 10, y + 11, 5, INK)
                    pen.disc(x + 34, y + 11, 5, INK)
                pen.text(34, y - 3, first, 17)

        return draw

    text = (
        "The first car of each train has a number. Each next car has a number that is higher by one. "
        f"What is the number of car {car} of the {{colour}} train?"
    )
    return by_colour(rng, place, text, rng.sample(range(1, 31), 5), lambda first: first + car - 1, picture)


LOOP = tuple((46 + 44 * x, 68 + 44 * y) for x, y in
             [(0, 0), (1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (2, 2), (1, 2), (0, 2), (0, 1)])  # fmt: skip
"""The posts of the wall, clockwise."""


def _walk(rng: Random, place: int) -> Instance:
    start, step = rng.randrange(10), rng.choice((1, -1))
    distances = rng.sample(range(1, 10), 5)
    asked = rng.randrange(5)
    letters = lettered(rng, asked, place)
    metres = distances[asked] + 10 * rng.randint(1, 4)

    def draw(pen: Pen) -> None:
        pen.line([*LOOP, LOOP[0]], GREY, 4)
        for x, y in LOOP:
            pen.disc(x, y, 5, WHITE)
        x, y = LOOP[start]
        pen.disc(x, y, 8, COLOURS["red"])
        other = LOOP[(start + step) % 10]
        shift = tuple(0 if a == b else (b - a) / 44 for a, b in zip((x, y), other, strict=True))
        pen.arrow((x + 8 * shift[0], y + 8 * shift[1]), (x + 34 * shift[0], y + 34 * shift[1]), COLOURS["red"], 4, 12)
        for letter, distance in zip(letters, distances, strict=True):
            px, py = LOOP[(start + step * distance) % 10]
            pen.text(
                px + (-16 if px < 50 else 16 if px > 170 else 0), py + (-16 if py < 70 else 16 if py > 150 else 0), letter, 18
            )

    text = (
        "Rose the cat walks along the wall. She starts at the red dot and follows the arrow. From one post to the next it is "
        f"1 meter. She walks a total of {metres} meters. Where does she end up?"
    )
    posts = {letter: (start + step * distance) % 10 for letter, distance in zip(letters, distances, strict=True)}
    return Instance(text, (), place, {"start": start, "step": step, "posts": posts}, draw)


def _prices(rng: Random, place: int) -> Instance:
    balls = rng.randint(2, 6)

    def picture(prices: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for (x, y), (colour, price) in zip(FIVE, prices.items(), strict=True):
                pen.disc(x, y - 14, 22, COLOURS[colour])
                pen.text(x, y + 24, f"${price}", 20)

        return draw

    text = f"The picture shows what one ball costs. How many dollars do {balls} {{colour}} balls cost?"
    return by_colour(rng, place, text, rng.sample(range(1, 10), 5), lambda price: balls * price, picture)


def _cards(rng: Random, place: int) -> Instance:
    numbers = rng.sample([10 * tens + units for tens in range(2, 10) for units in range(1, tens)], 5)
    pairs = [tuple(rng.sample(divmod(number, 10), 2)) for number in numbers]

    def picture(digits: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for (x, y), (colour, pair) in zip(FIVE, digits.items(), strict=True):
                for side, digit in zip((-17, 17), pair, strict=True):
                    pen.box(x + side - 15, y - 22, x + side + 15, y + 22, light(COLOURS[colour]), COLOURS[colour], 2)
                    pen.text(x + side, y, digit, 24)

        return draw

    text = "Put the two {colour} cards side by side to get the largest possible number. What is that number?"
    return by_colour(rng, place, text, pairs, lambda pair: 10 * max(pair) + min(pair), picture)


PUZZLES = (
    RootPuzzle(43, "math", 1, _squares),
    RootPuzzle(59, "math", 1, _cards),
    RootPuzzle(71, "math", 1, _trains),
    RootPuzzle(88, "math", 1, _prices),
    RootPuzzle(98, "math", 1, _walk),
)
