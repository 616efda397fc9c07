"""Pattern: colors that are switched, a pattern that is repeated, arrows of one direction."""

from __future__ import annotations

from random import Random

from espresso.datasets.smart101.puzzles.base import Instance, RootPuzzle, arranged, lettered, slots
from espresso.datasets.smart101.puzzles.draw import COLOURS, GREY, INK, Pen, Point

Pattern = tuple[str, ...]
"""Colours of the nine cells of a square, row by row."""

CHANGES: dict[str, dict[str, str]] = {
    "you switch red and blue": {"red": "blue", "blue": "red", "green": "green"},
    "you switch red and green": {"red": "green", "green": "red", "blue": "blue"},
    "you switch blue and green": {"blue": "green", "green": "blue", "red": "red"},
    "red becomes blue, blue becomes green and green becomes red": {"red": "blue", "blue": "green", "green": "red"},
    "red becomes green, green becomes blue and blue becomes red": {"red": "green", "green": "blue", "blue": "red"},
}
"""What the question says -> the new colour of each colour."""

DIRECTIONS = ("up", "down", "left", "right", "both ways")
TIMES = {3: "three", 4: "four", 5: "five", 6: "six", 7: "seven"}


def _switch(rng: Random, place: int) -> Instance:
    names = ["red", "blue", "green"]
    pattern: Pattern = tuple(rng.sample([*names, *names, *(rng.choice(names) for _ in range(3))], 9))
    asked = rng.randrange(5)
    letters = lettered(rng, asked, place)
    changed = [tuple(change[colour] for colour in pattern) for change in CHANGES.values()]
    shown = dict(sorted(zip(letters, changed, strict=True)))

    def draw(pen: Pen) -> None:
        _tiles(pen, pattern, 112, 46, 26)
        pen.line([(6, 96), (218, 96)], GREY, 1)
        for (x, y), (letter, each) in zip(((44, 134), (112, 134), (180, 134), (78, 194), (146, 194)), shown.items(), strict=True):
            _tiles(pen, each, x + 8, y, 15)
            pen.text(x - 26, y, letter, 18)

    text = f"The picture shows a pattern and five others. Which one do you get when {list(CHANGES)[asked]}?"
    return Instance(text, (), place, {"pattern": pattern, "shown": shown}, draw)


def _tiles(pen: Pen, pattern: Pattern, x: float, y: float, side: float) -> None:
    """Draw a pattern around a point."""
    for (dx, dy), colour in zip(slots(3, 3, side, side, -1.5 * side, -1.5 * side), pattern, strict=True):
        pen.box(x + dx - side / 2, y + dy - side / 2, x + dx + side / 2, y + dy + side / 2, COLOURS[colour])


def _repeat(rng: Random, place: int) -> Instance:
    dy = rng.choice((-1, 1)) * rng.randint(6, 20)
    steps = ((0, -18), (12, 18), (14, dy))
    if rng.random() < 0.5:
        steps = ((14, 18 + dy), (0, -18), (12, 0))
    dx, dy = sum(step[0] for step in steps), sum(step[1] for step in steps)
    start = (14.0, 112 - 3.5 * dy)
    asked = rng.randrange(5)
    letters = lettered(rng, asked, place)
    ends = {letter: (start[0] + times * dx, start[1] + times * dy) for letter, times in zip(letters, TIMES, strict=True)}

    def draw(pen: Pen) -> None:
        points: list[Point] = [start]
        for step in 2 * steps:
            points.append((points[-1][0] + step[0], points[-1][1] + step[1]))
        pen.line(points, COLOURS["blue"], 2.5)
        pen.disc(*start, 4, COLOURS["red"])
        pen.disc(*points[3], 3, INK)
        for letter, (x, y) in ends.items():
            pen.disc(x, y, 3.5, INK)
            pen.text(x, y + 14, letter, 16)

    text = (
        "Peter started at the red point and drew a pattern twice, as in the picture. "
        f"Which point will he reach when he has drawn the pattern {TIMES[3 + asked]} times in all?"
    )
    return Instance(text, (), place, {"start": start, "pattern": (dx, dy), "points": ends}, draw)


def _arrows(rng: Random, place: int) -> Instance:
    counts = dict(zip(DIRECTIONS, rng.sample(range(1, 8), 5), strict=True))
    cells = rng.sample(slots(5, 5, 43, 43, 4, 4), 25)
    asked = rng.randrange(5)

    def draw(pen: Pen) -> None:
        names = [direction for direction, count in counts.items() for _ in range(count)]
        for (x, y), name in zip(cells, names, strict=False):
            dx, dy = {"up": (0, -15), "down": (0, 15), "left": (-15, 0), "right": (15, 0), "both ways": (15, 0)}[name]
            pen.arrow((x - dx, y - dy), (x + dx, y + dy), INK, 4, 15)
            if name == "both ways":
                pen.arrow((x + dx, y + dy), (x - dx, y - dy), INK, 4, 15)

    ways = {"both ways": "that points to both sides"}
    what = ways.get(DIRECTIONS[asked], f"that points only {'to the ' if asked in (2, 3) else ''}{DIRECTIONS[asked]}")
    answers = [str(count) for count in counts.values()]
    text = f"How many times does an arrow {what} appear in the picture?"
    return Instance(text, arranged(rng, answers, asked, place), place, {"counts": counts}, draw)


PUZZLES = (
    RootPuzzle(77, "pattern", 1, _switch),
    RootPuzzle(83, "pattern", 1, _repeat),
    RootPuzzle(86, "pattern", 1, _arrows),
)
