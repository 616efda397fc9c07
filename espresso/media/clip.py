"""Open an image or a video and decode the frames asked for."""

from __future__ import annotations

import hashlib
import re
import tempfile
import warnings
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from espresso.errors import MediaError
from espresso.media.fetch import fetch
from espresso.media.pictures import PictureFile, Pixels, rgb
from espresso.media.process import decoder
from espresso.schema import Visual

Size = int | tuple[int, int] | None
"""Longest side in pixels (never enlarged), or (width, height), or None for the original."""


class _Frames(Protocol):
    width: int
    height: int
    times: np.ndarray
    end: float
    comment: str | None
    note: str | None

    def digest(self) -> str: ...

    def read(self, positions: list[int], size: tuple[int, int] | None) -> dict[int, np.ndarray]: ...


class Shrunk(Exception):
    """Decoding found that a video holds fewer sound frames than it lists; its `times` are now those of the sound ones."""


class Media:
    """An image or a video. An image is a video of one frame at 0 s.

    source: the path or URL, or a description of pixels in memory. A video's damage may show only when its frames are decoded;
    then `times`, `visual` and `note` change to what it really holds.
    """

    def __init__(self, source: str, frames: _Frames) -> None:
        self.source = source
        self._frames = frames
        if frames.note:
            warnings.warn(f"{source}: {frames.note}.", stacklevel=3)

    def __repr__(self) -> str:
        return f"<Media {self.source}: {len(self.times)} frames, {self.width}x{self.height}>"

    @property
    def width(self) -> int:
        """Pixels, upright."""
        return self._frames.width

    @property
    def height(self) -> int:
        """Pixels, upright."""
        return self._frames.height

    @property
    def times(self) -> np.ndarray:
        """(n,) seconds at which each frame is first shown, ascending; the first need not be 0."""
        return self._frames.times

    @property
    def end(self) -> float:
        """Seconds at which the last frame ends; 0 for an image."""
        return self._frames.end

    @property
    def comment(self) -> str | None:
        """The file's comment tag."""
        return self._frames.comment

    @property
    def note(self) -> str | None:
        """What is wrong with the file although frames can be had, without its name; None if nothing is known to be."""
        return self._frames.note

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file's bytes, or of the pixels in memory. Read when first asked for."""
        return self._frames.digest()

    @property
    def visual(self) -> Visual:
        """The record of this image or video."""
        count, span = len(self.times), self.end - float(self.times[0])
        moving = self.end > 0
        return Visual(
            source=self.source,
            digest=self.digest,
            kind="video" if moving else "image",
            width=self.width,
            height=self.height,
            duration=self.end,
            fps=count / span if moving and span > 0 else 0.0,
            frame_count=count,
        )

    def decode(self, indices: Sequence[int] | np.ndarray, *, size: Size = None) -> np.ndarray:
        """Decode frames: (m, height, width, 3) uint8 RGB, upright, in the order of `indices` (numbers into `times`).

        size: longest side in pixels (a smaller picture is not enlarged), or exactly (width, height).
        Raises MediaError if there is no such frame, or the file turns out to be damaged before it.
        """
        wanted = [int(number) for number in indices]
        for _ in range(2):
            count = len(self.times)
            if wrong := [number for number in wanted if not 0 <= number < count]:
                found = f"its frames are 0 to {count - 1}" + (f"; {self.note}" if self.note else "")
                raise MediaError(f"{self.source}: there is no frame {wrong[0]} ({found}). Ask for one of these.")
            try:
                return self.read(wanted, size)
            except Shrunk:
                continue
        raise MediaError(f"{self.source}: its frames decode differently each time. The file is damaged; get it anew.")

    def read(self, indices: list[int], size: Size) -> np.ndarray:
        """As `decode`, for indices that exist; raises Shrunk where the file turns out to hold fewer frames than listed."""
        if not indices:
            return np.zeros((0, self.height, self.width, 3), np.uint8)
        try:
            frames = self._frames.read(sorted(set(indices)), self.fitted(size))
        except Shrunk:
            if self.note:
                warnings.warn(f"{self.source}: {self.note}.", stacklevel=4)
            raise
        except MediaError as error:
            raise MediaError(f"{self.source}: {error}") from None
        return np.stack([frames[number] for number in indices])

    def fitted(self, size: Size) -> tuple[int, int] | None:
        """(width, height) in pixels that `size` means for this clip, None for the original."""
        if not isinstance(size, int):
            return size
        scale = size / max(self.width, self.height)
        return None if scale >= 1 else (max(1, round(self.width * scale)), max(1, round(self.height * scale)))


class _VideoFile:
    """A video file, read through the decoder process."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._learn(decoder.ask("index", self._path, None)[0])

    def _learn(self, known: dict[str, Any]) -> None:
        self._known = known
        self.width, self.height = known["width"], known["height"]
        self.times = (np.array(known["stamps"], dtype=np.int64) - known["start"]) * float(known["time_base"])
        self.end, self.comment, self.note = known["end"], known["comment"], known["note"]

    def digest(self) -> str:
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def read(self, positions: list[int], size: tuple[int, int] | None) -> dict[int, np.ndarray]:
        """By decord where most of many frames are wanted, else, and where decord fails or hangs, by PyAV.

        `benchmarks/decode.py`: for up to two fifths of the frames, PyAV decoding only what they depend on takes 0.4 to 1.1
        times the processor time of decord; for all of them decord takes 0.5 to 1 times that of PyAV, and half a second to start.
        """
        if len(positions) >= max(64, len(self.times) / 2) and not self._known["counted"]:
            try:
                return decoder.ask("read_with_decord", self._path, self._known, positions, size)[1]
            except MediaError:
                pass  # PyAV reads more, and says what is wrong where it does not
        frames = decoder.ask("read", self._path, self._known, positions, size)[1]
        if len(frames) < len(positions):
            self._learn(decoder.ask("survey", self._path, self._known)[0])
            raise Shrunk
        return frames


def open(source: str | Path | bytes | np.ndarray | Image.Image, *, fps: float | None = None, allow_urls: bool = False) -> Media:
    """Open an image or a video: a path, a URL, a file's bytes, a PIL image, or uint8 RGB pixels.

    Pixels are (height, width, 3), or (n, height, width, 3) with `fps` frames a second. URLs are fetched only with `allow_urls`.
    Raises MediaError, one sentence, if there is no such file or it holds no pictures that can be decoded.
    """
    if isinstance(source, Image.Image):
        return Media(f"{source.mode} image {source.width}x{source.height}", Pixels(rgb(source)[None], 0))
    if isinstance(source, np.ndarray):
        return _open_array(source, fps)
    if isinstance(source, bytes):
        return _open_bytes(source)
    if re.match(r"https?://", str(source)):
        if not allow_urls:
            raise MediaError(f"{source}: addresses on the web are not opened unless allowed. Allow it, or download the file.")
        path = fetch(str(source))
        return _temporary(str(source), path)
    path = Path(source)
    _check(path)
    return _open_file(str(source), path)


def _check(path: Path) -> None:
    try:
        if path.is_dir():
            raise MediaError(f"{path}: a directory. Give one image or video file.")
        if not path.exists():
            raise MediaError(f"{path}: no such file. Check the path.")
        if not path.is_file():
            raise MediaError(f"{path}: not a regular file. Give an image or video file.")
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaError(f"{path}: an empty file. Get it anew.")
    except PermissionError:
        raise MediaError(f"{path}: may not be read (permission denied). Change its permissions.") from None
    except (OSError, ValueError) as error:
        name = str(path) if len(str(path)) <= 200 else f"{str(path)[:200]}..."
        raise MediaError(f"{name!r}: cannot be opened ({getattr(error, 'strerror', None) or error}). Check the path.") from None


def _open_file(name: str, path: Path) -> Media:
    try:
        try:
            return Media(name, PictureFile(path))
        except UnidentifiedImageError:
            return Media(name, _VideoFile(path))
    except MediaError as error:
        raise MediaError(f"{name}: {error}") from None


def _open_bytes(data: bytes) -> Media:
    name = f"{len(data)} bytes"
    if not data:
        raise MediaError(f"{name}: nothing to open. Give the content of an image or video file.")
    try:
        return Media(name, PictureFile(data))
    except MediaError as error:
        raise MediaError(f"{name}: {error}") from None
    except UnidentifiedImageError:
        pass
    with tempfile.NamedTemporaryFile(prefix="espresso-", delete=False) as file:
        file.write(data)
    return _temporary(name, Path(file.name))


def _temporary(name: str, path: Path) -> Media:
    """Open a file that lives as long as its Media."""
    try:
        media = _open_file(name, path)
    except BaseException:
        path.unlink()
        raise
    weakref.finalize(media, path.unlink, missing_ok=True)
    return media


def _open_array(pixels: np.ndarray, rate: float | None) -> Media:
    shape = "x".join(map(str, pixels.shape))
    name = f"array {shape}"
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or pixels.shape[-1] != 3 or 0 in pixels.shape:
        raise MediaError(f"{name} of {pixels.dtype}: not pixels. Give uint8 RGB, (height, width, 3) or (n, height, width, 3).")
    if pixels.ndim == 3:
        return Media(name, Pixels(pixels[None], 0))
    if not rate or not 0 < rate < 100_000:
        raise MediaError(f"{name}: several frames without a rate. Say how many there are a second with fps=.")
    return Media(name, Pixels(pixels, rate))
