"""Measure: a clock, towers with flags, roads between houses, mushrooms."""

from __future__ import annotations

from random import Random
from typing import Any

from espresso.datasets.smart101.puzzles.base import Instance, Picture, RootPuzzle, arranged, by_colour
from espresso.datasets.smart101.puzzles.draw import COLOURS, GREY, INK, PALE, WHITE, Pen, around


def clock_time(hour: int) -> str:
    """Return an hour of 0 to 23 as puzzle 25 writes it: "11:00 AM"."""
    return f"{hour % 12 or 12}:00 {'AM' if hour % 24 < 12 else 'PM'}"


def _clock(rng: Random, place: int) -> Instance:
    hour = rng.randrange(24)
    before = rng.sample(range(1, 24), 5)
    asked = rng.randrange(5)
    x, y, radius = rng.randint(94, 110), rng.randint(112, 132), rng.randint(72, 88)
    face, hand = rng.choice((WHITE, PALE, (255, 244, 214))), rng.choice([COLOURS[each] for each in ("red", "green", "blue")])

    def draw(pen: Pen) -> None:
        pen.disc(x, y, radius, face, INK, 3)
        for number in range(1, 13):
            pen.text(*around(x, y, radius - 15, 30 * number), number, 17)
        pen.line([(x, y), around(x, y, radius - 26, 0)], INK, 3)
        pen.line([(x, y), around(x, y, radius - 42, 30 * hour)], hand, 5)
        pen.disc(x, y, 5, INK)
        if hour < 12:
            for angle in range(0, 360, 45):
                pen.line([(202, 24), around(202, 24, 20, angle)], COLOURS["orange"], 2)
            pen.disc(202, 24, 12, (255, 214, 40), None)
        else:
            pen.disc(200, 24, 17, COLOURS["blue"], None)
            pen.disc(208, 19, 14, (250, 249, 246), None)

    answers = [clock_time(hour - hours) for hours in before]
    text = (
        "The clock shows the time when Stephen leaves school, before noon with a sun and after noon with a moon. He woke up "
        f"{before[asked]} hour{'s' if before[asked] > 1 else ''} before. At what time did he wake up?"
    )
    return Instance(text, arranged(rng, answers, asked, place), place, {"hour": hour}, draw)


def _towers(rng: Random, place: int) -> Instance:
    flag = rng.choice((5, 10, 15, 20, 25))

    def picture(heights: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for mark in range(0, 101, 10):
                y = 212 - 2 * mark
                pen.line([(30, y), (222, y)], PALE, 1)
                pen.text(16, y, mark, 12)
            for column, (colour, height) in enumerate(heights.items()):
                x = 38 + 38 * column
                pen.box(x, 212 - 2 * height, x + 26, 212, COLOURS[colour])
            pen.line([(30, 212), (222, 212)], INK, 2)

        return draw

    text = (
        f"The picture shows the heights of five towers in cm. Tim puts a flag of {flag} cm on top of the {{colour}} tower. "
        "How high above the ground is the upper tip of the flag?"
    )
    heights = rng.sample(range(10, 100, 10), 5)
    return by_colour(rng, place, text, heights, lambda height: f"{height + flag} cm", picture)


def _roads(rng: Random, place: int) -> Instance:
    school = rng.randint(1, 20)
    angles = [60 * index for index in rng.sample(range(6), 6)]

    def picture(lengths: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            ends = [("school", school), *lengths.items()]
            for angle, (_, length) in zip(angles, ends, strict=True):
                pen.line([(112, 112), around(112, 112, 86, angle)], GREY, 4)
                x, y = around(112, 112, 50, angle)
                pen.disc(x, y, 13, WHITE, GREY)
                pen.text(x, y, length, 15)
            for angle, (name, _) in zip(angles, ends, strict=True):
                x, y = around(112, 112, 92, angle)
                if name == "school":
                    pen.box(x - 16, y - 13, x + 16, y + 13, PALE, INK, 2)
                    pen.text(x, y, "S", 18)
                else:
                    pen.box(x - 11, y - 5, x + 11, y + 13, COLOURS[name])
                    pen.shape([(x - 15, y - 5), (x, y - 18), (x + 15, y - 5)], COLOURS[name], INK)

        return draw

    text = (
        "The numbers show the lengths of the roads from the crossroad in km. "
        "How long is the road from the {colour} house to the school (S)?"
    )
    lengths = rng.sample(range(1, 21), 5)
    return by_colour(rng, place, text, lengths, lambda length: f"{length + school} km", picture, school=school)


def _mushrooms(rng: Random, place: int) -> Instance:
    tallest = rng.randint(13, 24)

    def picture(heights: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for column, (name, height) in enumerate([("grey", tallest), *heights.items()]):
                x, top = 20 + 37 * column, 190 - 6.2 * height
                pen.box(x - 5, top, x + 5, 190, (240, 226, 196))
                pen.shape(
                    [(x - 16, top + 8), (x - 10, top - 8), (x + 10, top - 8), (x + 16, top + 8)], COLOURS.get(name, GREY), INK
                )
                pen.text(x, 206, height, 16)
            pen.line([(2, 190), (222, 190)], INK, 2)

        return draw

    text = (
        "The picture shows mushrooms with their heights. "
        "What is the difference between the heights of the grey mushroom and the {colour} one?"
    )
    heights = [tallest - difference for difference in rng.sample(range(1, 13), 5)]
    return by_colour(rng, place, text, heights, lambda height: tallest - height, picture, grey=tallest)


PUZZLES = (
    RootPuzzle(22, "measure", 2, _towers),
    RootPuzzle(25, "measure", 2, _clock),
    RootPuzzle(93, "measure", 1, _roads),
    RootPuzzle(94, "measure", 1, _mushrooms),
)
