"""The images and videos that the page shows, and pictures of their frames."""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espresso import media
from espresso.media import Media
from espresso.media.segment import parse_segment, split_segment
from espresso.schema import Frame
from serving.service import Service
from serving.uploads import PREFIX

PICTURE_PX = 224
"""Longest side in pixels of the pictures of frames."""

KEPT = 64
"""Visuals that are kept; the ones shown last."""


@dataclass(frozen=True)
class Shown:
    """A visual of the page."""

    source: str
    """What requests name: the id of an upload or a path, with a segment."""

    name: str
    """Name of the file, for people."""

    opened: Media

    file: Path
    """The file, with which the browser plays it."""

    pictures: dict[int, bytes] = field(default_factory=dict)
    """Frame index -> picture in WebP."""

    @property
    def url(self) -> str:
        """Where the browser gets the file, with the part of a video."""
        return f"media/{self.opened.digest}{split_segment(self.source)[1]}"

    @property
    def offset(self) -> float:
        """Seconds at which a part of a video starts; 0 for a whole one."""
        segment = split_segment(self.source)[1]
        return parse_segment(segment).start if segment else 0.0


class Visuals:
    """The visuals that pages have opened, by digest.

    Args:
        service: opens them.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._shown: OrderedDict[str, Shown] = OrderedDict()
        self._lock = threading.Lock()

    def upload(self, path: Path) -> Shown:
        """Store an uploaded file, and delete Gradio's copy of it.

        Raises:
            MediaError: it is not an image or video, is damaged or exceeds the limits.
        """
        try:
            with path.open("rb") as content:
                stored = self._service.uploads.add(content, path.name, "app")
        finally:
            path.unlink(missing_ok=True)
        return self.open(stored.id)

    def open(self, source: str) -> Shown:
        """Open an upload or a file in an allowed folder.

        Raises:
            MediaError: it cannot be opened, is not allowed, or exceeds the limits.
            UnknownFileError: the upload was deleted.
        """
        opened = self._service.sources.open(source)
        if source.startswith(PREFIX):
            file, upload = self._service.uploads.find(source)
            name = upload.filename
        else:
            file = Path(split_segment(source)[0])
            name = Path(source).name
        shown = Shown(source, name, opened, file)
        with self._lock:
            shown.pictures.update(self._shown[opened.digest].pictures if opened.digest in self._shown else {})
            self._shown[opened.digest] = shown
            self._shown.move_to_end(opened.digest)
            while len(self._shown) > KEPT:
                self._shown.popitem(last=False)
        return shown

    def find(self, digest: str) -> Shown | None:
        """Return a visual by its digest, or None."""
        return self._shown.get(digest)

    async def decode(self, shown: Sequence[Shown], frames: Iterable[Frame]) -> None:
        """Decode the pictures of frames that have none yet. Raises MediaError."""
        for position, visual in enumerate(shown):
            wanted = sorted({frame.index for frame in frames if frame.visual == position} - visual.pictures.keys())
            if wanted:
                visual.pictures.update(await media.in_background(_pictures, visual.opened, wanted))


def _pictures(opened: Media, indices: list[int]) -> dict[int, bytes]:
    urls = map(media.thumbnail_url, opened.decode(indices, size=PICTURE_PX))
    return {index: base64.b64decode(url.partition(",")[2]) for index, url in zip(indices, urls, strict=True)}
