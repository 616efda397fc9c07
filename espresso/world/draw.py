"""Rendering: every frame is a function of the story and the time.

Each action can be recognized in a single frame: streaks show movement, a spark a hit, an arm with a
box a gift, a bubble a mood. Coordinates are fractions of the frame.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from espresso.world.cast import COLOURS, VEHICLES
from espresso.world.stage import MARK_Y, RADIUS, Sprite, same, sprites, wall_x
from espresso.world.story import Beat, Story

FLOORS = ((226, 232, 222), (234, 226, 214), (220, 228, 238))
WALL_Y = 0.66
INK, GREY, WHITE = (40, 40, 44), (128, 128, 134), (250, 250, 250)
YELLOW, ORANGE = (255, 214, 60), (244, 130, 30)
Point = tuple[float, float]
Colour = tuple[int, int, int]


def render(story: Story, time: float, size: int = 224) -> np.ndarray:
    """Render the frame at a time in seconds as uint8 RGB of shape (size, size, 3)."""
    image = Image.new("RGB", (size, size), FLOORS[story.layout % 3])
    pen = Pen(ImageDraw.Draw(image), size)
    PLACES[story.place](pen, story, time)
    return np.asarray(image)


class Pen:
    """Draws in coordinates that are fractions of the frame."""

    def __init__(self, draw: ImageDraw.ImageDraw, size: int) -> None:
        self.draw, self.size = draw, size

    def line(self, points: list[Point], colour: Colour, width: float) -> None:
        """Draw a line through points."""
        self.draw.line([(x * self.size, y * self.size) for x, y in points], fill=colour, width=max(1, round(width * self.size)))

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour, edge: Colour | None = None) -> None:
        """Draw an ellipse around a point."""
        box = [(x - rx) * self.size, (y - ry) * self.size, (x + rx) * self.size, (y + ry) * self.size]
        self.draw.ellipse(box, fill=colour, outline=edge, width=max(1, self.size // 112))

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, edge: Colour | None = None) -> None:
        """Draw a rectangle between two corners."""
        self.draw.rectangle(
            [x0 * self.size, y0 * self.size, x1 * self.size, y1 * self.size],
            fill=colour,
            outline=edge,
            width=max(1, self.size // 112),
        )

    def shape(self, points: list[Point], colour: Colour, edge: Colour | None = None) -> None:
        """Draw a polygon."""
        self.draw.polygon(
            [(x * self.size, y * self.size) for x, y in points], fill=colour, outline=edge, width=max(1, self.size // 112)
        )

    def spikes(self, x: float, y: float, outer: float, inner: float, count: int, colour: Colour, edge: Colour) -> None:
        """Draw a star of `count` spikes, one of them pointing up."""
        points = []
        for i in range(2 * count):
            r, a = (outer if i % 2 == 0 else inner), math.pi * i / count
            points.append((x + r * math.sin(a), y - r * math.cos(a)))
        self.shape(points, colour, edge)

    def thing(self, sprite: Sprite) -> None:
        """Draw a coloured shape or vehicle."""
        x, y, r, colour = sprite.x, sprite.y, sprite.radius, COLOURS[sprite.thing.colour]
        match sprite.thing.shape:
            case "circle":
                self.oval(x, y, r, r, colour, INK)
            case "square":
                self.box(x - 0.85 * r, y - 0.85 * r, x + 0.85 * r, y + 0.85 * r, colour, INK)
            case "triangle":
                self.shape([(x, y - r), (x + r, y + 0.85 * r), (x - r, y + 0.85 * r)], colour, INK)
            case "star":
                self.spikes(x, y, 1.1 * r, 0.45 * r, 5, colour, INK)
            case "diamond":
                self.shape([(x, y - 1.15 * r), (x + 0.75 * r, y), (x, y + 1.15 * r), (x - 0.75 * r, y)], colour, INK)
            case "cross":
                a, b = r, 0.36 * r
                corners = [
                    (-b, -a),
                    (b, -a),
                    (b, -b),
                    (a, -b),
                    (a, b),
                    (b, b),
                    (b, a),
                    (-b, a),
                    (-b, b),
                    (-a, b),
                    (-a, -b),
                    (-b, -b),
                ]
                self.shape([(x + dx, y + dy) for dx, dy in corners], colour, INK)
            case _:
                self._vehicle(sprite.thing.shape, x, y, r, colour)

    def _vehicle(self, kind: str, x: float, y: float, r: float, colour: Colour) -> None:
        if kind == "car":
            cabin = ((-0.6, -0.1), (-0.3, -0.7), (0.4, -0.7), (0.7, -0.1))
            self.shape([(x + dx * r, y + dy * r) for dx, dy in cabin], WHITE, INK)
            self.box(x - 1.2 * r, y - 0.15 * r, x + 1.2 * r, y + 0.5 * r, colour, INK)
        elif kind == "bus":
            self.box(x - 1.4 * r, y - 0.9 * r, x + 1.4 * r, y + 0.5 * r, colour, INK)
            for i in range(4):
                self.box(x - 1.2 * r + 0.65 * r * i, y - 0.7 * r, x - 0.8 * r + 0.65 * r * i, y - 0.3 * r, WHITE)
        else:
            self.box(x - 1.4 * r, y - 0.9 * r, x + 0.5 * r, y + 0.5 * r, colour, INK)
            self.box(x + 0.6 * r, y - 0.35 * r, x + 1.4 * r, y + 0.5 * r, GREY, INK)
        for dx in (-0.8, 0.8):
            self.oval(x + dx * r, y + 0.55 * r, 0.3 * r, 0.3 * r, INK)

    def streaks(self, sprite: Sprite, way: float, up: bool = False) -> None:
        """Draw speed lines behind a thing moving right (way 1) or left (-1), or above it (up)."""
        wide = 1.5 if sprite.thing.shape in VEHICLES else 1.1
        for i in (-1, 0, 1):
            if up:
                x = sprite.x + 0.05 * i
                self.line([(x, sprite.y - 1.2 * sprite.radius), (x, sprite.y - 1.2 * sprite.radius - 0.07)], INK, 0.014)
            else:
                y, x = sprite.y + 0.05 * i, sprite.x - way * wide * sprite.radius
                self.line([(x, y), (x - way * 0.09, y)], INK, 0.014)


def _yard(pen: Pen, story: Story, time: float) -> None:
    pen.box(0, 0, 1, 0.2, (206, 222, 238))
    wall, lamp_x = wall_x(story), 1.0 - wall_x(story)
    lamps = [b for b in story.beats if b.verb == "lamp" and b.start <= time]
    on = lamps[-1].value == "on" if lamps else story.lamp
    pen.line([(lamp_x, 0.86), (lamp_x, 0.5)], INK, 0.025)
    if on:
        pen.oval(lamp_x, 0.48, 0.1, 0.1, (255, 240, 170))
    pen.oval(lamp_x, 0.48, 0.055, 0.055, YELLOW if on else (92, 92, 98), INK)
    beat = story.beat_at(time)
    here = sprites(story, time)
    hidden = [s for s in here if beat is not None and beat.verb == "hides" and same(s.thing, beat.doer, "yard")]
    behind = [
        s for s in here if abs(s.y - MARK_Y) < 0.02 and abs(s.x - wall) < 0.13 and (s in hidden or _rests_hidden(story, s, time))
    ]
    for sprite in here:
        if sprite in behind:
            pen.thing(sprite)
    pen.box(wall - 0.11, WALL_Y - 0.14, wall + 0.11, 0.88, (150, 120, 104), INK)
    for i in range(3):
        pen.line([(wall - 0.11, WALL_Y - 0.04 + 0.1 * i), (wall + 0.11, WALL_Y - 0.04 + 0.1 * i)], (110, 84, 72), 0.01)
    for sprite in here:
        if sprite not in behind:
            pen.thing(sprite)
    if beat is not None and beat.doer is not None:
        doer = next(s for s in here if same(s.thing, beat.doer, "yard"))
        target = next((s for s in here if same(s.thing, beat.target, "yard")), None)
        _cue(pen, story, beat, doer, target)


def _rests_hidden(story: Story, sprite: Sprite, time: float) -> bool:
    over = [
        b for b in story.beats if b.start <= time and (same(sprite.thing, b.doer, "yard") or same(sprite.thing, b.target, "yard"))
    ]
    return bool(over) and over[-1].verb == "hides"


def _cue(pen: Pen, story: Story, beat: Beat, doer: Sprite, target: Sprite | None) -> None:
    """Draw the marks that make an action recognizable in a still frame."""
    way = -1.0 if beat.mirror else 1.0
    match beat.verb:
        case "hits" if target:
            pen.streaks(doer, way)
            pen.spikes((doer.x + target.x) / 2, MARK_Y - 0.02, 0.105, 0.045, 8, WHITE, ORANGE)
        case "pushes":
            pen.streaks(doer, way)
        case "follows" if target:
            pen.streaks(doer, way)
            pen.streaks(target, way)
        case "gives":
            x = doer.x + way * 0.17
            pen.line([(doer.x + way * RADIUS, MARK_Y), (x, MARK_Y)], INK, 0.022)
            pen.box(x - 0.045, MARK_Y - 0.05, x + 0.045, MARK_Y + 0.04, (196, 140, 72), INK)
            pen.line([(x, MARK_Y - 0.05), (x, MARK_Y + 0.04)], WHITE, 0.015)
        case "feels":
            _bubble(pen, beat.value, doer.x, doer.y - 0.24)
        case "turns":
            for i in range(8):
                a = math.pi * i / 4 + 0.2
                pen.spikes(doer.x + 0.165 * math.cos(a), doer.y + 0.165 * math.sin(a), 0.03, 0.012, 4, WHITE, YELLOW)
        case "hides":
            pen.streaks(doer, -1.0 if wall_x(story) < 0.5 else 1.0)
        case "leaves":
            pen.streaks(doer, -1.0 if beat.value == "left" else 1.0)
        case "enters":
            pen.streaks(doer, 1.0 if beat.value == "left" else -1.0)
        case "lamp":
            x = 1.0 - wall_x(story)
            pen.line([(doer.x, doer.y), (x, 0.66)], INK, 0.022)


def _bubble(pen: Pen, mood: str, x: float, y: float) -> None:
    pen.oval(x, y, 0.105, 0.09, WHITE, INK)
    match mood:
        case "happy":
            pen.oval(x, y, 0.06, 0.06, YELLOW, ORANGE)
        case "sad":
            pen.shape([(x, y - 0.07), (x + 0.045, y + 0.03), (x, y + 0.06), (x - 0.045, y + 0.03)], (70, 140, 240))
        case "angry":
            bolt = ((0.02, -0.075), (-0.05, 0.015), (0, 0.015), (-0.02, 0.075), (0.05, -0.015), (0, -0.015))
            pen.shape([(x + dx, y + dy) for dx, dy in bolt], (224, 40, 40))
        case "scared":
            pen.line([(x, y - 0.065), (x, y + 0.02)], INK, 0.035)
            pen.oval(x, y + 0.055, 0.02, 0.02, INK)


def _kitchen(pen: Pen, story: Story, time: float) -> None:
    pen.box(0, 0.24, 1, 0.27, (150, 110, 70))
    pen.box(0.12, 0.84, 0.88, 1, (96, 100, 108))
    beat = story.beat_at(time)
    verb = beat.verb if beat else ""
    if verb == "heats":
        for i in range(5):
            x = 0.28 + 0.11 * i
            pen.shape([(x - 0.05, 0.9), (x, 0.77 - 0.03 * (i % 2)), (x + 0.05, 0.9)], ORANGE, (214, 40, 40))
    if verb == "stirs" and beat:
        lean = 0.1 * math.sin(7 * time)
        pen.line([(0.5 + lean, 0.6), (0.6 + lean, 0.34)], (150, 96, 48), 0.035)
        pen.oval(0.6 + lean, 0.34, 0.04, 0.05, (150, 96, 48), INK)
    pen.line([(0.72, 0.64), (0.98, 0.6)], INK, 0.04)
    pen.shape([(0.2, 0.58), (0.76, 0.58), (0.7, 0.78), (0.26, 0.78)], (70, 74, 82), INK)
    gone = [b.doer for b in story.beats if b.verb == "goes" and b.end < time and b.doer]
    for i, thing in enumerate(gone):
        pen.oval(0.32 + 0.15 * i, 0.58, 0.045, 0.03, COLOURS[thing.colour], INK)
    for sprite in sprites(story, time):
        pen.thing(sprite)
        if beat is not None and beat.verb == "goes" and same(sprite.thing, beat.doer, "kitchen"):
            pen.streaks(sprite, 1.0, up=True)
    match verb:
        case "pours":
            pen.shape([(0.18, 0.33), (0.33, 0.3), (0.38, 0.42), (0.24, 0.48)], (120, 180, 244), INK)
            pen.line([(0.38, 0.43), (0.43, 0.58)], (60, 130, 240), 0.035)
        case "salts":
            pen.box(0.56, 0.3, 0.68, 0.42, WHITE, INK)
            for i in range(6):
                pen.oval(0.57 + 0.04 * (i % 3), 0.46 + 0.05 * (i // 3), 0.012, 0.012, INK)
        case "covers":
            pen.oval(0.48, 0.57, 0.3, 0.06, (170, 176, 186), INK)
            pen.oval(0.48, 0.5, 0.04, 0.03, INK)


def _street(pen: Pen, story: Story, time: float) -> None:
    pen.box(0, 0.52, 1, 0.94, (104, 106, 112))
    for i in range(4):
        pen.box(0.43, 0.55 + 0.1 * i, 0.57, 0.6 + 0.1 * i, (240, 240, 240))
    beat = story.beat_at(time)
    stop = beat is not None and (beat.value in ("red", "light"))
    pole = 0.8 if story.layout % 2 else 0.2
    pen.line([(pole, 0.5), (pole, 0.34)], INK, 0.025)
    pen.box(pole - 0.07, 0.06, pole + 0.07, 0.34, (50, 52, 58), INK)
    pen.oval(pole, 0.13, 0.05, 0.05, (240, 40, 40) if stop else (90, 60, 60))
    pen.oval(pole, 0.27, 0.05, 0.05, (70, 90, 70) if stop else (50, 220, 90))
    here = sprites(story, time)
    for sprite in here:
        pen.thing(sprite)
    if beat is None or beat.doer is None:
        return
    doer = next(s for s in here if same(s.thing, beat.doer, "street"))
    way = -1.0 if beat.mirror else 1.0
    if beat.verb == "crosses":
        pen.streaks(doer, way)
    elif beat.verb == "breaks":
        for i in range(3):
            pen.oval(doer.x + 0.04 * i - 0.04, doer.y - 0.2 - 0.06 * i, 0.05, 0.04, (190, 190, 196), INK)
    elif beat.value == "walker":
        x = 0.5 + 0.03 * math.sin(5 * time)
        pen.oval(x, 0.56, 0.035, 0.035, (240, 190, 150), INK)
        pen.line([(x, 0.59), (x, 0.74)], INK, 0.035)
        pen.line([(x, 0.73), (x - 0.05, 0.84)], INK, 0.025)
        pen.line([(x, 0.73), (x + 0.05, 0.84)], INK, 0.025)
    elif beat.value == "barrier":
        for i in range(4):
            pen.box(0.455, 0.5 + 0.1 * i, 0.505, 0.6 + 0.1 * i, (230, 40, 40) if i % 2 else WHITE, INK)


PLACES = {"yard": _yard, "kitchen": _kitchen, "street": _street}
"""Place of a story -> the function that draws it."""
