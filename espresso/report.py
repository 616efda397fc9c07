"""A report: one HTML page that shows what was asked, what was seen and when, and what the answer rests on.

The page is one file with its pictures inside; it loads nothing from anywhere.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from espresso import media
from espresso.errors import DataError
from espresso.media import Media
from espresso.schema import Answer, Frame, letter

PICTURE_PX = 224
"""Longest side of a picture on the page."""


def write(path: str | Path, answers: Sequence[Answer], clips: Sequence[Media]) -> None:
    """Write the page for answers about clips that are open; the file appears whole or not at all.

    Raises DataError where it cannot be written, MediaError where a frame cannot be decoded.
    """
    save(check(path), page(answers, clips))


def save(path: Path, text: str) -> None:
    """Write a page as a whole, over an older one, or not at all. Raises DataError where the disk does not take it."""
    draft = None
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException as error:
        if draft:
            Path(draft).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise DataError(f"{path}: cannot be written ({error.strerror}). Make room, or give another path.") from error
        raise


def check(path: str | Path) -> Path:
    """Return the path if a page can be written there, so that nothing is asked in vain. Raises DataError."""
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: this is a folder. Give the report a file name, such as {path / 'report.html'}.")
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}. Make it, or give another path for the report.")
    if not os.access(path.parent, os.W_OK):
        raise DataError(f"{path}: the folder {path.parent} cannot be written to. Give another path for the report.")
    return path


def page(answers: Sequence[Answer], clips: Sequence[Media]) -> str:
    """Render the page as HTML. clips: the visuals of all answers, found by their digest. Raises MediaError."""
    by_digest = {clip.visual.digest: clip for clip in clips}
    pictures: dict[tuple[str, int], str] = {}
    for digest, clip in by_digest.items():
        frames = {frame for answer in answers for frame in answer.frames if answer.visuals[frame.visual].digest == digest}
        indices = sorted({frame.index for frame in frames})
        if indices:
            urls = [media.data_url(pixels) for pixels in clip.decode(indices, size=PICTURE_PX)]
            pictures |= {(digest, index): url for index, url in zip(indices, urls, strict=True)}

    def picture(answer: Answer, frame: Frame) -> str:
        return pictures[answer.visuals[frame.visual].digest, frame.index]

    return template(Path(__file__).with_name("report.html.jinja")).render(answers=answers, picture=picture, letter=letter)


@cache
def template(file: Path) -> Template:
    """Load a page's template: values are escaped, and what lies beside it or here (`style.css`) can be included."""
    loader = FileSystemLoader([file.parent, Path(__file__).parent])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # and in its own order, which `tojson` does not keep
    return environment.get_template(file.name)
