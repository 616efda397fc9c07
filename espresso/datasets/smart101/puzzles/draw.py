"""Draw puzzles: a pen for pictures of 224 x 224 pixels, drawn at twice the size and averaged.

The pen notes what it draws and where, in words: a red disc gives the marks "disc" and "red" at its
centre, the text "12" gives "1" and "2". Models of puzzles can be trained on marks; nothing that
answers a puzzle reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import cos, hypot, pi, sin

from PIL import Image, ImageDraw, ImageFont

SIZE = 224
"""Width and height in pixels, as of the authors' images."""

Point = tuple[float, float]
Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (214, 40, 40),
    "blue": (40, 96, 224),
    "green": (30, 150, 60),
    "orange": (245, 150, 20),
    "purple": (150, 60, 190),
}
"""The colours by which questions name what they are about."""

INK, GREY, PALE, WHITE = (36, 36, 40), (140, 140, 146), (226, 226, 230), (255, 255, 255)
SHAPES = ("disc", "box", "star", "shape", "sector")
"""Words for what is drawn around a point."""
POINTS = ("corner", "end", "up", "down", "left", "right")
"""Words for corners of boxes, ends of lines, and heads of arrows by their direction."""


@dataclass(frozen=True)
class Mark:
    """A word for something that is drawn, and where."""

    word: str
    """A colour, one of `SHAPES` or `POINTS`, or a character in lower case."""

    x: float
    """Share of the width, 0 is left."""

    y: float
    """Share of the height, 0 is the top."""


class Pen:
    """Draws in pixels of the final picture."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (2 * SIZE, 2 * SIZE), (250, 249, 246))
        self.draw = ImageDraw.Draw(self.image)
        self.marks = list[Mark]()

    def line(self, points: Sequence[Point], colour: Colour = INK, width: float = 2) -> None:
        """Draw a line through points."""
        self.draw.line(_scaled(points), fill=colour, width=max(1, round(2 * width)), joint="curve")
        for x, y in (points[0], points[-1]):
            self._mark(x, y, "end", colour)

    def dashed(self, start: Point, end: Point, colour: Colour = INK) -> None:
        """Draw a dashed line."""
        steps = max(1, round(hypot(end[0] - start[0], end[1] - start[1]) / 5))
        points = [
            (start[0] + (end[0] - start[0]) * i / steps, start[1] + (end[1] - start[1]) * i / steps) for i in range(steps + 1)
        ]
        for first, second in list(pairwise(points))[::2]:
            self.line([first, second], colour, 1.5)

    def arrow(self, start: Point, end: Point, colour: Colour = INK, width: float = 2, head: float = 8) -> None:
        """Draw an arrow that ends in a filled head."""
        length = max(1e-6, hypot(end[0] - start[0], end[1] - start[1]))
        ux, uy = (end[0] - start[0]) / length, (end[1] - start[1]) / length
        base = (end[0] - head * ux, end[1] - head * uy)
        self.line([start, base], colour, width)
        side = head * 0.6
        self.shape([end, (base[0] - side * uy, base[1] + side * ux), (base[0] + side * uy, base[1] - side * ux)], colour)
        direction = ("left", "right")[ux > 0] if abs(ux) > abs(uy) else ("up", "down")[uy > 0]
        self._mark(*end, direction, colour)

    def disc(
        self, x: float, y: float, radius: float, fill: Colour | None = None, edge: Colour | None = INK, width: float = 1
    ) -> None:
        """Draw a circle around a point."""
        box = _scaled([(x - radius, y - radius), (x + radius, y + radius)])
        self.draw.ellipse([*box[0], *box[1]], fill=fill, outline=edge, width=max(1, round(2 * width)))
        self._mark(x, y, "disc", fill or edge)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None = None, edge: Colour | None = INK, width: float = 1
    ) -> None:
        """Draw a rectangle between two corners."""
        box = _scaled([(x0, y0), (x1, y1)])
        self.draw.rectangle([*box[0], *box[1]], fill=fill, outline=edge, width=max(1, round(2 * width)))
        self._mark((x0 + x1) / 2, (y0 + y1) / 2, "box", fill or edge)
        for x, y in ((x0, y0), (x1, y1)):
            self._mark(x, y, "corner", fill or edge)

    def shape(self, points: Sequence[Point], fill: Colour | None, edge: Colour | None = None) -> None:
        """Draw a polygon."""
        self._polygon(points, fill, edge, "shape")

    def star(self, x: float, y: float, radius: float, fill: Colour) -> None:
        """Draw a star with five points."""
        points = [
            (x + radius * (0.45 if i % 2 else 1) * sin(pi * i / 5), y - radius * (0.45 if i % 2 else 1) * cos(pi * i / 5))
            for i in range(10)
        ]
        self._polygon(points, fill, None, "star")

    def sector(self, x: float, y: float, radius: float, start: float, end: float, fill: Colour) -> None:
        """Draw a sector of a circle between two angles in degrees, clockwise from the right."""
        box = _scaled([(x - radius, y - radius), (x + radius, y + radius)])
        self.draw.pieslice([*box[0], *box[1]], start, end, fill=fill, outline=INK, width=2)
        self._mark(*around(x, y, radius / 2, (start + end) / 2 + 90), "sector", fill)

    def text(self, x: float, y: float, text: object, size: float = 16, colour: Colour = INK) -> None:
        """Write text around a point."""
        font, written = _font(round(2 * size)), str(text)
        self.draw.text((2 * x, 2 * y), written, fill=colour, font=font, anchor="mm")
        left = x - font.getlength(written) / 4
        for place, character in enumerate(written):
            centre = (font.getlength(written[:place]) + font.getlength(written[: place + 1])) / 4
            self._mark(left + centre, y, character.lower(), colour)

    def _polygon(self, points: Sequence[Point], fill: Colour | None, edge: Colour | None, word: str) -> None:
        self.draw.polygon(_scaled(points), fill=fill, outline=edge, width=2)
        x, y = (sum(each) / len(points) for each in zip(*points, strict=True))
        self._mark(x, y, word, fill or edge)

    def _mark(self, x: float, y: float, word: str, colour: Colour | None) -> None:
        """Note a word and the name of the colour, if the point lies in the picture."""
        if 0 <= x < SIZE and 0 <= y < SIZE:
            names = [word, *([_names()[colour]] if colour in _names() else [])]
            self.marks += [Mark(name, x / SIZE, y / SIZE) for name in names if name.strip()]


def rendered(picture: Callable[[Pen], None]) -> Image.Image:
    """Return a picture of 224 x 224 pixels."""
    pen = Pen()
    picture(pen)
    return pen.image.reduce(2)


def marks(picture: Callable[[Pen], None]) -> list[Mark]:
    """Return what a picture shows and where."""
    pen = Pen()
    picture(pen)
    return pen.marks


def mark_words() -> Iterator[str]:
    """Yield the words of marks, but for the characters of texts."""
    yield from (*SHAPES, *POINTS, *dict.fromkeys(_names().values()))


def around(x: float, y: float, radius: float, degrees: float) -> Point:
    """Return the point at a distance and an angle, clockwise from the top."""
    angle = degrees * pi / 180
    return x + radius * sin(angle), y - radius * cos(angle)


def light(colour: Colour) -> Colour:
    """Return a light tone of a colour, on which text is readable."""
    r, g, b = (round(255 - (255 - value) * 0.35) for value in colour)
    return r, g, b


def _scaled(points: Sequence[Point]) -> list[Point]:
    return [(2 * x, 2 * y) for x, y in points]


@cache
def _names() -> dict[Colour, str]:
    tones = {tone: name for name, colour in COLOURS.items() for tone in (colour, light(colour))}
    return tones | {INK: "black", GREY: "grey", PALE: "pale", WHITE: "white"}


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
