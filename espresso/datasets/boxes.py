"""Boxes of key items in evidence: read those of VideoEspresso, and write them in thousandths."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from espresso.datasets.frames import frame_size
from espresso.schema import Box

Convention = Literal["corners", "centres"]

CONVENTIONS: dict[Convention, str] = {
    "corners": "x1, y1, x2, y2 in pixels",
    "centres": "centre x, centre y, width, height in thousandths",
}
"""How the four numbers of a box can be meant. The authors do not document it."""

_ITEM = re.compile(r"<obj_start>(.*?)<obj_end>(?:<box_start>(.*?)<box_end>)?", re.DOTALL)
_MARKS = re.compile(r"<box_start>.*?<box_end>|</?obj_(?:start|end)>", re.DOTALL)


def without_marks(evidence: str) -> str:
    """Return marked-up evidence as plain text without boxes."""
    return _MARKS.sub("", evidence).strip()


def grounded(label: str, box: Box, width: int, height: int) -> str:
    """Return a key item as evidence names it: "dog [120, 80, 560, 930]".

    The box is written in thousandths of the frame's width and height, the convention of Qwen-VL,
    because thousandths do not depend on the size at which a model sees the frame.

    Args:
        label: name of the item.
        box: xyxy in pixels.
        width: width of the frame in pixels.
        height: height of the frame in pixels.

    Raises:
        ValueError: the box is empty or not inside the frame.
    """
    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        numbers = ", ".join(f"{value:g}" for value in box)
        raise ValueError(f"the box of {label!r} ({numbers}) is empty or not inside its frame of {width}x{height}")
    scaled = (x1 / width, y1 / height, x2 / width, y2 / height)
    return f"{label} [{', '.join(str(round(1000 * value)) for value in scaled)}]"


class MarkedEvidence:
    """Convert marked-up evidence to plain text with boxes in thousandths.

    The convention of boxes is decided once per source, by majority: boxes are corners if at least
    half of them can be. A few degenerate boxes therefore change nothing. A box that reaches over
    the edge of its frame is clamped. A box that is empty, entirely outside its frame or not four
    numbers is dropped, and its key item is kept as text.

    Args:
        rows: source and evidence of every row.
    """

    def __init__(self, rows: Iterable[tuple[str, str]]) -> None:
        self._found, can_be_corners = Counter[str](), Counter[str]()
        for source, evidence in rows:
            boxes = [box for box in _boxes(evidence) if len(box) == 4]
            self._found[source] += len(boxes)
            can_be_corners[source] += sum(x1 < x2 and y1 < y2 for x1, y1, x2, y2 in boxes)
        self._conventions: dict[str, Convention] = {
            source: "corners" if 2 * can_be_corners[source] >= count else "centres" for source, count in self._found.items()
        }
        self._clamped, self._dropped = Counter[str](), Counter[str]()

    def plain(self, evidence: str, source: str, path: str) -> str:
        """Return evidence as plain text with boxes in thousandths.

        Args:
            evidence: the authors' evidence, of one of the rows.
            source: the row's source.
            path: file of the frame that boxes refer to.

        Raises:
            MediaError: the file cannot be opened.
        """
        if not _boxes(evidence):
            return without_marks(evidence)
        width, height = frame_size(path)

        def item(match: re.Match[str]) -> str:
            boxes = [self._clamp(box, source, width, height) for box in _boxes(match[0])]
            return ", ".join(grounded(match[1], box, width, height) for box in boxes if box) or match[1]

        return without_marks(_ITEM.sub(item, evidence))

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each source with boxes: their convention, and the number of bad ones."""
        return tuple(
            f"{source}: {count} boxes read as {CONVENTIONS[self._conventions[source]]}"
            + (f"; clamped to the frame: {self._clamped[source]}" if self._clamped[source] else "")
            + (f"; dropped: {self._dropped[source]}" if self._dropped[source] else "")
            for source, count in sorted(self._found.items())
            if count or self._dropped[source]
        )

    def _clamp(self, numbers: tuple[float, ...], source: str, width: int, height: int) -> Box | None:
        """Return a box as xyxy pixels inside the frame; None if nothing of it is left."""
        box = _as_pixels(numbers, self._conventions[source], width, height) if len(numbers) == 4 else (0.0, 0.0, 0.0, 0.0)
        inside = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height)))
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            self._dropped[source] += 1
            return None
        self._clamped[source] += inside != box
        return inside


def _boxes(text: str) -> list[tuple[float, ...]]:
    """Return the numbers of every box in marked-up evidence, four per valid box."""
    return [
        tuple(float(value) for value in re.findall(r"-?\d+(?:\.\d+)?", box))
        for item in _ITEM.finditer(text)
        for box in re.findall(r"\[([^\[\]]+)\]", item[2] or "")
    ]


def _as_pixels(box: tuple[float, ...], convention: Convention, width: int, height: int) -> Box:
    """Return a box of four numbers as xyxy pixels."""
    a, b, c, d = box
    if convention == "corners":
        return a, b, c, d
    x, y, w, h = a / 1000, b / 1000, c / 1000, d / 1000
    return ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
