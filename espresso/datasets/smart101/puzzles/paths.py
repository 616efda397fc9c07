"""Path: rooms with doors, tunnels to gates, letters along a road, arrows between people."""

from __future__ import annotations

from itertools import combinations
from random import Random
from typing import Any

from espresso.datasets.smart101.puzzles.base import Instance, Picture, RootPuzzle, by_colour, lettered
from espresso.datasets.smart101.puzzles.draw import COLOURS, GREY, INK, WHITE, Pen, Point, around

GRID = 5
"""Rooms in each row and column."""

FARTHEST = 9
"""The most doors between the star and a dot."""

Room = tuple[int, int]

RANKS = ("tallest", "second tallest", "third tallest", "second shortest", "shortest")


def _rooms(rng: Random, place: int) -> Instance:
    while True:
        star, doors = _tree(rng)
        distances = _distances(star, doors)
        if max(distances.values()) >= FARTHEST:
            break
    wanted = rng.sample(range(1, FARTHEST + 1), 5)
    rooms = [rng.choice([room for room, distance in distances.items() if distance == doors_to]) for doors_to in wanted]
    open_walls = {frozenset(door) for door in doors}

    def picture(dots: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for column in range(GRID):
                for row in range(GRID):
                    x, y = 7 + 42 * column, 7 + 42 * row
                    for other, wall in (((column + 1, row), [(x + 42, y), (x + 42, y + 42)]),
                                        ((column, row + 1), [(x, y + 42), (x + 42, y + 42)])):  # fmt: skip
                        _wall(pen, wall[0], wall[1], door=frozenset(((column, row), other)) in open_walls)
            pen.box(7, 7, 217, 217, None, INK, 2)
            pen.star(28 + 42 * star[0], 28 + 42 * star[1], 14, INK)
            for colour, (column, row) in dots.items():
                pen.disc(28 + 42 * column, 28 + 42 * row, 10, COLOURS[colour])

        return draw

    text = "Baby Roo wants to get from the {colour} dot to the star. What is the least number of doors to go through?"
    return by_colour(rng, place, text, rooms, lambda room: distances[room], picture, star=star, doors=doors)


def _wall(pen: Pen, start: Point, end: Point, door: bool) -> None:
    """Draw a wall, with a gap in the middle if there is a door."""
    if not door:
        pen.line([start, end], INK, 3)
        return
    for point, other in ((start, end), (end, start)):
        pen.line([point, (point[0] + (other[0] - point[0]) * 0.28, point[1] + (other[1] - point[1]) * 0.28)], INK, 3)


def _tree(rng: Random) -> tuple[Room, list[tuple[Room, Room]]]:
    """Return a room, and doors that connect it with every other room in one way."""
    star = (rng.randrange(GRID), rng.randrange(GRID))
    doors, seen, path = list[tuple[Room, Room]](), {star}, [star]
    while path:
        column, row = path[-1]
        near = [(column + 1, row), (column - 1, row), (column, row + 1), (column, row - 1)]
        new = [each for each in near if 0 <= each[0] < GRID and 0 <= each[1] < GRID and each not in seen]
        if not new:
            path.pop(rng.randrange(len(path)) if rng.random() < 0.2 else -1)
            continue
        room = rng.choice(new)
        doors.append((path[-1], room))
        seen.add(room)
        path.append(room)
    return star, doors


def _distances(star: Room, doors: list[tuple[Room, Room]]) -> dict[Room, int]:
    """Return the number of doors from the star to each room. Doors lead away from the star."""
    distances = {star: 0}
    for near, far in doors:
        distances[far] = distances[near] + 1
    return distances


def _gates(rng: Random, place: int) -> Instance:
    pairs = rng.sample(list(combinations(range(1, 7), 2)), 5)

    def picture(tunnels: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for row, (colour, gates) in enumerate(tunnels.items()):
                y = 24 + 44 * row
                for gate in gates:
                    pen.line([(24, y), (192, 20 + 37 * (gate - 1))], COLOURS[colour], 2.5)
                pen.disc(18, y, 11, COLOURS[colour])
            for gate in range(1, 7):
                y = 20 + 37 * (gate - 1)
                pen.box(192, y - 13, 218, y + 13, WHITE)
                pen.text(205, y, gate, 18)

        return draw

    text = "You have to close two of the six gates so that the {colour} mouse cannot get out. Which gates should you close?"
    return by_colour(rng, place, text, pairs, lambda gates: f"{gates[0]} and {gates[1]}", picture)


def _road(rng: Random, place: int) -> Instance:
    words = set[str]()
    while len(words) < 5:
        words.add("".join(rng.sample("BCDFGHJKLMNPRSTVWXZ", 3)))
    roads = [(word, rng.random() < 0.5) for word in rng.sample(sorted(words), 5)]

    def picture(roads: dict[str, Any]) -> Picture:
        def draw(pen: Pen) -> None:
            for row, (colour, (word, backwards)) in enumerate(roads.items()):
                y = 30 + 43 * row
                points = [(12, y + 8), (50, y - 4), (88, y + 8), (126, y - 4), (164, y + 8), (210, y)]
                if backwards:
                    points = [(224 - px, py) for px, py in points]
                pen.line(points[:-1], COLOURS[colour], 3)
                pen.arrow(points[-2], points[-1], COLOURS[colour], 3, 13)
                for letter, (px, py) in zip(word, (points[1], points[2], points[3]), strict=True):
                    pen.text(px, py - 14, letter, 18)

        return draw

    text = (
        "Mary walks along the {colour} road in the direction of its arrow and reads the letters on her way. "
        "What is the word she will read?"
    )
    return by_colour(rng, place, text, roads, lambda road: road[0], picture)


def _taller(rng: Random, place: int) -> Instance:
    asked = rng.randrange(5)
    people = lettered(rng, asked, place)
    spots = rng.sample(range(5), 5)
    arrows = [(people[index], people[index + 1]) for index in range(4)]
    arrows += [(people[a], people[b]) for a, b in rng.sample([(0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (2, 4)], 2)]
    rng.shuffle(arrows)

    def draw(pen: Pen) -> None:
        at = {person: around(112, 114, 82, 72 * spot) for person, spot in zip(people, spots, strict=True)}
        for taller, shorter in arrows:
            (x0, y0), (x1, y1) = at[taller], at[shorter]
            length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
            ux, uy = (x1 - x0) / length, (y1 - y0) / length
            pen.arrow((x0 + 20 * ux, y0 + 20 * uy), (x1 - 21 * ux, y1 - 21 * uy), GREY, 2.5, 13)
        for person, (x, y) in at.items():
            pen.disc(x, y, 19, (250, 224, 160))
            pen.text(x, y, person, 20)

    text = (
        "An arrow pointing from one person to another means that the first person is taller than the second. "
        f"Who is the {RANKS[asked]}?"
    )
    return Instance(text, (), place, {"arrows": arrows}, draw)


PUZZLES = (
    RootPuzzle(16, "path", 3, _gates),
    RootPuzzle(37, "path", 3, _rooms),
    RootPuzzle(39, "path", 3, _road),
    RootPuzzle(66, "path", 1, _taller),
)
