"""Find the videos that a dataset's rows name in a user's folder."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from espresso.errors import DataError
from espresso.media.segment import split_segment

VIDEO_SUFFIXES = (
    ".3g2", ".3gp", ".amv", ".apng", ".asf", ".av1", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265",
    ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe",
    ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogg", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob",
    ".webm", ".wmv", ".wtv", ".y4m", ".split",
)  # fmt: skip
"""Endings of files that `espresso.media` opens as videos."""

IMAGE_SUFFIXES = (
    ".avif", ".bmp", ".heic", ".heif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm",
    ".ppm", ".tif", ".tiff", ".webp", ".split",
)  # fmt: skip
"""Endings of images. An image never stands for a video of the same name."""

SHOWN_FILES = 3


class VideoFolder:
    """A folder of videos, searched by the names in a dataset's rows.

    Args:
        path: the folder. Subfolders of any depth are searched too, and so are linked ones.

    Raises:
        DataError: the folder does not exist.
    """

    def __init__(self, path: Path) -> None:
        if not os.path.isdir(path):
            what = "it is a file" if os.path.isfile(path) else "no such folder"
            raise DataError(f"{path}: {what}. Give the folder that contains the videos.")
        self.path = path

    def find(self, name: str) -> Path | None:
        """Find a visual by its path in the folder, else by its name and the parent folders in it.

        A file of the same name in a folder of another name is not the visual: datasets number the
        videos of each of their sources from 1. In the folder itself it is, as in a flat copy.

        Args:
            name: the name in a row. The suffix of a video may be missing or a different one. The
                name of a part of a video ends in its segment, such as `#t=4,6`.

        Returns:
            The path, with the segment if there is one; None if no file matches, or more than one. A
            folder of this name, or a link to nothing, is not a file.
        """
        file, segment = self._split(name)
        matches = self._matches(file)
        return Path(f"{matches[0]}{segment}") if len(matches) == 1 else None

    def get(self, name: str) -> str:
        """Return the path of a visual. Raises ValueError if there is none, or more than one."""
        if path := self.find(name):
            return str(path)
        file, absent = self._split(name)[0], self.absent(name)
        raise ValueError(absent if absent != file else f"{file} is not in {self.path}")

    def absent(self, name: str) -> str:
        """Return the name of a visual that is not found; if several files have it, they follow.

        The name of a part of a video is that of the video.
        """
        name, _ = self._split(name)
        matches = self._matches(name)
        listed = ", ".join(str(file.relative_to(self.path)) for file in matches[:SHOWN_FILES])
        more = ", ..." if len(matches) > SHOWN_FILES else ""
        return f"{name} ({len(matches)} files have this name: {listed}{more}; keep one)" if matches else name

    def _split(self, name: str) -> tuple[str, str]:
        """Split the name of a part of a video, unless a file has this very name."""
        file, segment = split_segment(name)
        return (name, "") if segment and self._matches(name) else (file, segment)

    def _matches(self, name: str) -> list[Path]:
        """Return the files that a name can mean; one that is linked twice is one file."""
        name = os.fsdecode(name.encode("utf-8", "surrogateescape"))  # a path, also where those are not UTF-8
        for written in (name, name.replace("\\", "/")):
            if os.path.isfile(path := self.path / written):
                return [path]
        wanted = PurePosixPath(_normal(name.replace("\\", "/")))
        suffix = wanted.suffix.lower()
        if suffix in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES):
            wanted = wanted.with_suffix("")
        named = self._by_stem.get((wanted.name, suffix in IMAGE_SUFFIXES), [])
        same = [file for file in named if _stem_parts(file)[-len(wanted.parts) :] == wanted.parts]
        parent = wanted.parent.name
        near = [file for file in named if file.parent == self.path or not parent or _normal(file.parent.name) == parent]
        matches = same or near
        if suffix:
            matches = [file for file in matches if file.suffix.lower() == suffix] or matches
        return list({os.path.realpath(file): file for file in reversed(matches)}.values())[::-1]

    @cached_property
    def _by_stem(self) -> dict[tuple[str, bool], list[Path]]:
        """All videos and images, by name without suffix and whether it is an image."""
        files: dict[tuple[str, bool], list[Path]] = {}
        for file in self._walk():
            suffix = file.suffix.lower()
            if not suffix or suffix in VIDEO_SUFFIXES or suffix in IMAGE_SUFFIXES:
                files.setdefault((_normal(file.stem), suffix in IMAGE_SUFFIXES), []).append(file)
        return files

    def _walk(self) -> Iterator[Path]:
        """Yield every file; a linked folder is entered, but no folder twice."""
        entered = set[tuple[int, int]]()
        for folder, subfolders, names in os.walk(self.path, followlinks=True):
            try:
                status = os.stat(folder)
            except OSError:
                status = None
            if status is None or (status.st_dev, status.st_ino) in entered:
                subfolders.clear()
                continue
            entered.add((status.st_dev, status.st_ino))
            subfolders.sort()
            yield from (Path(folder, name) for name in sorted(names) if os.path.isfile(os.path.join(folder, name)))


def _normal(name: str) -> str:
    """Return a name in composed form: macOS writes "é" as two characters."""
    return unicodedata.normalize("NFC", name)


def _stem_parts(file: Path) -> tuple[str, ...]:
    return tuple(map(_normal, file.with_suffix("").parts))
