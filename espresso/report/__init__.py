"""The answer report: an HTML page with question, frames, evidence, answer and cost.

The page is a single file with embedded pictures. It loads nothing from the network.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from espresso import media
from espresso.errors import DataError, MediaError
from espresso.files import write_atomic
from espresso.media import Media
from espresso.schema import Answer, Frame, KeyItem, Visual, letter

PICTURE_PX = 224
"""Longest side in pixels of the pictures on the page."""

NOTEBOOK_STYLE = "width: 100%; height: 40rem; border: 0; resize: vertical"
"""Style of the report's frame in a notebook."""


@dataclass(frozen=True)
class PlacedBox:
    """A key item to draw on a picture of its frame: its place in percent of the picture."""

    label: str
    left: float
    top: float
    width: float
    height: float

    @property
    def label_at(self) -> str:
        """CSS classes that keep the label inside the picture: `end` of the box, or `below` it."""
        return " ".join(name for name, needed in (("end", self.left > 50), ("below", self.top < 10)) if needed)


def write(path: str | Path, answers: Sequence[Answer], clips: Sequence[Media]) -> None:
    """Write the report of answers to an HTML file, replacing an existing one.

    Args:
        path: the file to write. Its folder must exist.
        answers: one section each, in this order.
        clips: the open visuals of all answers, in any order.

    Raises:
        DataError: the file cannot be written.
        MediaError: a frame cannot be decoded.
    """
    save(check(path), page(answers, clips))


def save(path: Path, html: str) -> None:
    """Write a page atomically. Raises DataError if it cannot be written."""
    try:
        write_atomic(path, html)
    except OSError as error:
        raise DataError(f"{path}: cannot write the page ({error.strerror}). Free disk space or give another path.") from error


def check(path: str | Path) -> Path:
    """Return the path as a Path if a page can be written there. Call it before any expensive work.

    Raises:
        DataError: the path is a folder or a device, its name is too long, or its folder is missing
            or cannot be written to.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise DataError(f"{path}: is a folder. Give a file name, such as {path / 'report.html'}.")
    if not os.path.isdir(path.parent):
        raise DataError(f"{path}: the folder {path.parent} does not exist. Create it or give another path.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f"{path}: is not a regular file, so it cannot be replaced by a page. Give another path.")
    try:
        with suppress(FileNotFoundError):
            path.lstat()
        check_folder(path.parent)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}). Give another path.") from None
    return path


def check_folder(folder: Path) -> None:
    """Check that files can be written to a folder, and create it if it does not exist.

    Raises:
        DataError: the folder cannot be created, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(f"{folder}: this folder cannot be written to ({error.strerror}). Give another path.") from None


def page(answers: Sequence[Answer], clips: Sequence[Media]) -> str:
    """Render the report of answers as HTML.

    `clips` are their open visuals; frames of others have no pictures. Raises MediaError.
    """
    by_digest = {clip.visual.digest: clip for clip in clips}
    pictures: dict[tuple[str, int], str] = {}
    for digest, clip in by_digest.items():
        frames = {frame for answer in answers for frame in answer.frames if answer.visuals[frame.visual].digest == digest}
        indices = sorted({frame.index for frame in frames})
        if indices:
            urls = [media.data_url(pixels) for pixels in clip.decode(indices, size=PICTURE_PX)]
            pictures |= {(digest, index): url for index, url in zip(indices, urls, strict=True)}

    def boxes(answer: Answer, frame: Frame) -> list[PlacedBox]:
        return place_boxes(answer.evidence.key_items, frame, answer.visuals[frame.visual])

    def picture(answer: Answer, frame: Frame) -> str | None:
        return pictures.get((answer.visuals[frame.visual].digest, frame.index))

    return template(Path(__file__).with_name("answer.html.jinja")).render(
        answers=answers, picture=picture, boxes=boxes, letter=letter
    )


def place_boxes(items: Sequence[KeyItem], frame: Frame, visual: Visual) -> list[PlacedBox]:
    """Return the boxes of the key items that were found in a frame of a visual."""
    placed = []
    for item in items:
        if item.box and item.frame == frame:
            x1, y1, x2, y2 = item.box
            across, down = 100 / visual.width, 100 / visual.height
            placed.append(PlacedBox(item.label, x1 * across, y1 * down, (x2 - x1) * across, (y2 - y1) * down))
    return placed


def notebook(answer: Answer) -> str:
    """Return the report of an answer as HTML for a notebook, in a frame that runs no script.

    Its visuals are opened again by their paths. Frames of a visual that was downloaded, was given
    in memory or has changed are shown without pictures.
    """
    clips = []
    for visual in answer.visuals:
        with suppress(MediaError):
            clips.append(media.open(visual.source))
    try:
        html = page([answer], clips)
    except MediaError:  # damage that is found only now
        html = page([answer], [])
    return f'<iframe sandbox srcdoc="{escape(html)}" style="{NOTEBOOK_STYLE}" title="report of the answer"></iframe>'


@cache
def template(file: Path) -> Template:
    """Load a page template; values are escaped.

    It can include files from its own folder and from this one (`style.css`).
    """
    loader = FileSystemLoader([file.parent, Path(__file__).parent])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # `tojson` sorts keys by default
    return environment.get_template(file.name)
