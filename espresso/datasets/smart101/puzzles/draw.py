"""Draw puzzles: a pen for pictures of 224 x 224 pixels, drawn at twice the size and averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class Pen:
    """Draws in pixels of the final picture."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (2 * SIZE, 2 * SIZE), (250, 249, 246))
        self.draw = ImageDraw.Draw(self.image)

    def line(self, points: Sequence[Point], colour: Colour = INK, width: float = 2) -> None:
        """Draw a line through points."""
        self.draw.line(_scaled(points), fill=colour, width=max(1, round(2 * width)), joint="curve")

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

    def disc(
        self, x: float, y: float, radius: float, fill: Colour | None = None, edge: Colour | None = INK, width: float = 1
    ) -> None:
        """Draw a circle around a point."""
        box = _scaled([(x - radius, y - radius), (x + radius, y + radius)])
        self.draw.ellipse([*box[0], *box[1]], fill=fill, outline=edge, width=max(1, round(2 * width)))

    def box(
        self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None = None, edge: Colour | None = INK, width: float = 1
    ) -> None:
        """Draw a rectangle between two corners."""
        box = _scaled([(x0, y0), (x1, y1)])
        self.draw.rectangle([*box[0], *box[1]], fill=fill, outline=edge, width=max(1, round(2 * width)))

    def shape(self, points: Sequence[Point], fill: Colour | None, edge: Colour | None = None) -> None:
        """Draw a polygon."""
        self.draw.polygon(_scaled(points), fill=fill, outline=edge, width=2)

    def star(self, x: float, y: float, radius: float, fill: Colour) -> None:
        """Draw a star with five points."""
        self.shape(
            [
                (x + radius * (0.45 if i % 2 else 1) * sin(pi * i / 5), y - radius * (0.45 if i % 2 else 1) * cos(pi * i / 5))
                for i in range(10)
            ],
            fill,
        )

    def sector(self, x: float, y: float, radius: float, start: float, end: float, fill: Colour) -> None:
        """Draw a sector of a circle between two angles in degrees, clockwise from the right."""
        box = _scaled([(x - radius, y - radius), (x + radius, y + radius)])
        self.draw.pieslice([*box[0], *box[1]], start, end, fill=fill, outline=INK, width=2)

    def text(self, x: float, y: float, text: object, size: float = 16, colour: Colour = INK) -> None:
        """Write text around a point."""
        self.draw.text((2 * x, 2 * y), str(text), fill=colour, font=_font(round(2 * size)), anchor="mm")


def rendered(picture: Callable[[Pen], None]) -> Image.Image:
    """Return a picture of 224 x 224 pixels."""
    pen = Pen()
    picture(pen)
    return pen.image.reduce(2)


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
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
