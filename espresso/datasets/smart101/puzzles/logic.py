"""Logic: parts of pizzas, toys on shelves, stacked rings, a code of letters."""

from __future__ import annotations

from random import Random
from typing import Any

from espresso.datasets.smart101.puzzles.base import FIVE, Instance, Picture, RootPuzzle, arranged, by_colour, slots
from espresso.datasets.smart101.puzzles.draw import COLOURS, GREY, INK, PALE, WHITE, Pen, light

WORDS = (
    "BIRD", "BOAT", "BOLD", "CAKE", "CARD", "CITY", "CLAY", "COLD", "CORN", "DARK", "DESK", "DUCK", "FARM", "FIRE",
    "FISH", "FROG", "GAME", "GIFT", "GOAT", "HAND", "HAWK", "HOME", "JUMP", "KING", "LAMB", "LION", "MASK", "MILK",
    "MINT", "NEST", "PARK", "PINK", "PLUM", "RAIN", "RICE", "ROCK", "SAND", "SHIP", "SNOW", "STAR", "TIME", "WIND",
    "WOLF", "ZEBU",
)  # fmt: skip
"""Words of four different letters."""

RINGS = 6
"""Rings of each stack."""


def _pizza(rng: Random, place: int) -> Instance:
    parts = rng.randint(8, 10)
    missing = {taken: set(rng.sample(range(parts), taken)) for taken in range(1, 8)}

    def picture(taken: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for (x, y), (colour, count) in zip(FIVE, taken.items(), strict=True):
                pen.disc(x, y, 34, WHITE, COLOURS[colour], 4)
                for part in range(parts):
                    if part not in missing[count]:
                        pen.sector(x, y, 27, 360 * part / parts, 360 * (part + 1) / parts, (244, 206, 110))

        return draw

    text = "These pizzas were divided into equal parts. How many parts of the pizza on the {colour} plate have been taken?"
    return by_colour(rng, place, text, rng.sample(range(1, 8), 5), int, picture, parts=parts)


def _shelves(rng: Random, place: int) -> Instance:
    up = rng.randint(1, 4)

    def picture(shelves: dict[str, Any]) -> Picture:
        columns = rng.sample(range(5), 5)

        def draw(pen: Pen) -> None:
            for shelf in range(1, 6):
                y = 220 - 42 * (shelf - 1)
                pen.line([(30, y), (216, y)], (130, 90, 50), 3)
                pen.text(16, y - 18, shelf, 18)
            for column, (colour, shelf) in zip(columns, shelves.items(), strict=True):
                x, y = 55 + 34 * column, 220 - 42 * (shelf - 1)
                pen.box(x - 12, y - 28, x + 12, y - 3, COLOURS[colour])

        return draw

    text = (
        f"Stan moves every toy up by {up} {'shelf' if up == 1 else 'shelves'}. A toy that leaves the bookcase at the top goes on "
        "from the bottom. On which shelf is the {colour} toy then?"
    )
    return by_colour(rng, place, text, rng.sample(range(1, 6), 5), lambda shelf: (shelf - 1 + up) % 5 + 1, picture)


def seen_from_above(widths: tuple[int, ...]) -> int:
    """Return how many rings are wider than all rings above them; the top ring is the first."""
    return sum(width > max(widths[:index], default=0) for index, width in enumerate(widths))


def _rings(rng: Random, place: int) -> Instance:
    def picture(stacks: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for column, (colour, widths) in enumerate(stacks.items()):
                x = 24 + 44 * column
                pen.line([(x, 14), (x, 206)], GREY, 3)
                for index, width in enumerate(widths):
                    y = 32 + 28 * index
                    pen.box(x - 3.4 * width, y, x + 3.4 * width, y + 26, COLOURS[colour], INK, 0.8)
            pen.line([(2, 206), (222, 206)], INK, 3)

        return draw

    text = rng.choice(
        ["How many rings of the {colour} stack does Theodor see when he looks at it from above?",
         "Theodor looks at the {colour} stack from above. How many of its rings will he see?"]
    )  # fmt: skip
    stacks = [_stack(rng, seen) for seen in rng.sample(range(1, RINGS + 1), 5)]
    return by_colour(rng, place, text, stacks, seen_from_above, picture)


def _stack(rng: Random, seen: int) -> tuple[int, ...]:
    """Return widths of rings, from the top, of which so many are seen from above.

    A ring hides those below it that are not wider.
    """
    while True:
        widths = tuple(rng.sample(range(1, RINGS + 1), RINGS))
        if seen == RINGS:
            widths = tuple(range(1, RINGS + 1))
        if seen_from_above(widths) == seen:
            return widths


def _code(rng: Random, place: int) -> Instance:
    while True:
        words = rng.sample(WORDS, 5)
        letters = sorted(set("".join(words)))
        if len(letters) <= 16:
            break
    letters += rng.sample(sorted(set("ABCDEFGHIJKLMNOPQRSTUVWXYZ") - set(letters)), 16 - len(letters))
    rng.shuffle(letters)
    names = [f"{column}{row}" for row in range(1, 5) for column in "ABCD"]
    board = dict(zip(names, letters, strict=True))
    asked = rng.randrange(5)

    def draw(pen: Pen) -> None:
        for (x, y), letter in zip(slots(4, 4, 46, 46, 34, 34), letters, strict=True):
            pen.box(x - 23, y - 23, x + 23, y + 23, WHITE)
            pen.text(x, y, letter, 22)
        for index in range(4):
            pen.box(34 + 46 * index, 4, 80 + 46 * index, 34, PALE)
            pen.text(57 + 46 * index, 19, "ABCD"[index], 20, COLOURS["blue"])
            pen.box(4, 34 + 46 * index, 34, 80 + 46 * index, light(GREY))
            pen.text(19, 57 + 46 * index, index + 1, 20, COLOURS["blue"])

    codes = " ".join(next(name for name, letter in board.items() if letter == wanted) for wanted in words[asked])
    text = f"Tom encodes words using the board shown. What word did Tom encode as {codes}?"
    return Instance(text, arranged(rng, words, asked, place), place, {"board": board}, draw)


PUZZLES = (
    RootPuzzle(62, "logic", 1, _shelves),
    RootPuzzle(64, "logic", 1, _pizza),
    RootPuzzle(81, "logic", 1, _rings),
    RootPuzzle(100, "logic", 1, _code),
)
