"""Open an image or a video and decode frames of it."""

from __future__ import annotations

import hashlib
import io
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
from espresso.media.fetch import fetch, is_url, local_path, public
from espresso.media.kinds import Kind, identify
from espresso.media.pictures import PictureFile, Pixels, rgb
from espresso.media.process import decoder
from espresso.schema import Visual

Size = int | tuple[int, int] | None
"""Longest side in pixels (small pictures are not enlarged), (width, height), or None for the
original size."""


class _Frames(Protocol):
    width: int
    height: int
    times: np.ndarray
    end: float
    comment: str | None
    note: str | None

    def digest(self) -> str: ...

    def read(self, positions: list[int], size: tuple[int, int] | None) -> dict[int, np.ndarray]: ...


class FrameCountChangedError(Exception):
    """A video has fewer intact frames than its index lists; `Media.times` has been updated."""


class Media:
    """An image or a video. An image is a video with one frame at 0 s.

    Damage of a video may be detected only when frames are decoded; `times`, `visual` and `note` are
    then updated.
    """

    source: str
    """Path or URL, or a description of pixels in memory."""

    def __init__(self, source: str, frames: _Frames) -> None:
        self.source = source
        self._frames = frames
        if frames.note:
            warnings.warn(f"{source}: {frames.note}.", stacklevel=3)

    def __repr__(self) -> str:
        return f"<Media {self.source}: {len(self.times)} frames, {self.width}x{self.height}>"

    @property
    def width(self) -> int:
        """Width of the upright frames in pixels."""
        return self._frames.width

    @property
    def height(self) -> int:
        """Height of the upright frames in pixels."""
        return self._frames.height

    @property
    def times(self) -> np.ndarray:
        """Seconds at which the frames are first shown, shape (n,), ascending; may start above 0."""
        return self._frames.times

    @property
    def end(self) -> float:
        """Second at which the last frame ends; 0 for an image."""
        return self._frames.end

    @property
    def comment(self) -> str | None:
        """Comment tag of the file."""
        return self._frames.comment

    @property
    def note(self) -> str | None:
        """What is wrong with a file that can still be read, or None; without the file name."""
        return self._frames.note

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file's bytes or of the pixels in memory, computed on first use.

        If the first version of Espresso read the file differently, the way it is read is part of
        it, so that captions and samplings cached by that version are not used.
        """
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
        """Decode frames.

        Args:
            indices: m indices into `times`, in any order, repeats allowed.
            size: longest side in pixels (small pictures are not enlarged), (width, height), or None
                for the original size.

        Returns:
            Upright frames in the order of `indices`, uint8 RGB of shape (m, height, width, 3).

        Raises:
            MediaError: an index is out of range, or the file is damaged before it.
        """
        wanted = [int(index) for index in indices]
        for _ in range(2):
            count = len(self.times)
            if invalid := [index for index in wanted if not 0 <= index < count]:
                frames = f"its frames are 0 to {count - 1}" + (f"; {self.note}" if self.note else "")
                raise MediaError(f"{self.source}: there is no frame {invalid[0]} ({frames}). Use an index in this range.")
            try:
                return self.read(wanted, size)
            except FrameCountChangedError:
                continue
        raise MediaError(f"{self.source}: decoding gives different frames each time. The file is damaged; get a new copy.")

    def read(self, indices: list[int], size: Size) -> np.ndarray:
        """Decode frames as in `decode`, for valid indices.

        Raises:
            FrameCountChangedError: the file has fewer intact frames than its index lists.
            MediaError: the file cannot be decoded.
        """
        if not indices:
            return np.zeros((0, self.height, self.width, 3), np.uint8)
        before = self.note
        try:
            frames = self._frames.read(sorted(set(indices)), self.output_size(size))
        except MediaError as error:
            raise MediaError(f"{self.source}: {error}") from None
        finally:
            if self.note != before:
                warnings.warn(f"{self.source}: {self.note}.", stacklevel=4)
        return np.stack([frames[index] for index in indices])

    def output_size(self, size: Size) -> tuple[int, int] | None:
        """Return the (width, height) in pixels of decoded frames, or None for the original size."""
        if not isinstance(size, int):
            return size
        scale = size / max(self.width, self.height)
        return None if scale >= 1 else (max(1, round(self.width * scale)), max(1, round(self.height * scale)))


class _VideoFile:
    """A video file, read through the decoder process.

    Args:
        path: the file.
        complete: whether the file is as long as its header says.
    """

    note: str | None

    def __init__(self, path: Path, complete: bool) -> None:
        self._path = path.absolute()
        self._set_index(decoder.ask("index", self._path, None)[0])
        if not complete and not self.note:
            self.note = "truncated: the file is shorter than its header says"

    def _set_index(self, index: dict[str, Any]) -> None:
        self._index = index
        self.width, self.height = index["width"], index["height"]
        self.times = (np.array(index["timestamps"], dtype=np.int64) - index["start"]) * float(index["time_base"])
        self.end, self.comment, self.note = index["end"], index["comment"], index["note"]

    def digest(self) -> str:
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        digest.update(self._index["reading"].encode())
        return digest.hexdigest()

    def read(self, positions: list[int], size: tuple[int, int] | None) -> dict[int, np.ndarray]:
        """Read with decord if at least 64 and half of all frames are requested, else with PyAV.

        PyAV also takes over if decord fails.

        Measured by `benchmarks/decode.py`: for up to two fifths of the frames, PyAV takes 0.4 to
        1.1 times the CPU time of decord. For all frames, decord takes 0.5 to 1 times that of PyAV,
        plus half a second to start.
        """
        if len(positions) >= max(64, len(self.times) / 2) and self._index["decord"]:
            try:
                return decoder.ask("read_with_decord", self._path, self._index, positions, size)[1]
            except MediaError:
                pass  # PyAV supports more files and has better error messages
        note, frames = decoder.ask("read", self._path, self._index, positions, size)
        if note and note not in (self.note or ""):
            self.note = f"{self.note}; {note}" if self.note else note
        if len(frames) < len(positions):
            self._set_index(decoder.ask("scan", self._path, self._index)[0])
            raise FrameCountChangedError
        return frames


def open(source: str | Path | bytes | np.ndarray | Image.Image, *, fps: float | None = None, allow_urls: bool = False) -> Media:
    """Open an image or a video.

    Args:
        source: path, URL, content of a file, PIL image, or uint8 RGB pixels of shape (height,
            width, 3) or (n, height, width, 3).
        fps: frames per second of an array of several frames.
        allow_urls: download URLs.

    Raises:
        MediaError: the file does not exist or is not an image or video.
    """
    if isinstance(source, Image.Image):
        return Media(f"{source.mode} image {source.width}x{source.height}", Pixels(rgb(source)[None], 0))
    if isinstance(source, np.ndarray):
        return _open_array(source, fps)
    if isinstance(source, bytes):
        return _open_bytes(source)
    if is_url(str(source)):
        return _open_url(str(source), allow_urls)
    path = Path(source)
    _check(path)
    return _open_file(str(source), path)


def _open_url(url: str, allow_urls: bool) -> Media:
    name = public(url)
    if (path := local_path(url)) is not None:
        _check(path)
        return _open_file(str(path), path)
    if not allow_urls and url.lower().startswith("http"):
        raise MediaError(f"{name}: URLs are disabled. Set allow_urls or --allow-urls, or download the file.")
    return _open_temporary(name, fetch(url))


def _check(path: Path) -> None:
    try:
        if path.is_dir():
            raise MediaError(f"{path}: is a directory. Give an image or video file.")
        if not path.exists():
            raise MediaError(f"{path}: no such file. Check the path.")
        if not path.is_file():
            raise MediaError(f"{path}: not a regular file. Give an image or video file.")
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaError(f"{path}: the file is empty. Get a new copy.")
    except PermissionError:
        raise MediaError(f"{path}: permission denied. Make the file readable.") from None
    except (OSError, ValueError) as error:
        name = str(path) if len(str(path)) <= 200 else f"{str(path)[:200]}..."
        raise MediaError(f"{name!r}: cannot open ({getattr(error, 'strerror', None) or error}). Check the path.") from None


def _open_file(name: str, path: Path) -> Media:
    try:
        with path.open("rb") as file:
            kind = identify(file)
        picture = _picture(kind, path.absolute())
        return Media(name, picture or _VideoFile(path, kind is None or kind.complete))
    except MediaError as error:
        raise MediaError(f"{name}: {error}") from None


def _open_bytes(data: bytes) -> Media:
    name = f"{len(data)} bytes"
    if not data:
        raise MediaError(f"{name}: nothing to open. Give the content of an image or video file.")
    try:
        if picture := _picture(identify(io.BytesIO(data)), data):
            return Media(name, picture)
    except MediaError as error:
        raise MediaError(f"{name}: {error}") from None
    with tempfile.NamedTemporaryFile(prefix="espresso-", delete=False) as file:
        file.write(data)
    return _open_temporary(name, Path(file.name))


def _picture(kind: Kind | None, source: Path | bytes) -> PictureFile | None:
    """Open an image or animation; return None if the file can only be a video.

    Args:
        kind: what the first bytes tell about the file.
        source: its path or content.

    Raises:
        MediaError: the file is something else, or a damaged image.
    """
    if kind and kind.reader is None:
        raise MediaError(f"it is {kind.name}, not a video or a supported image. {kind.cure}")
    if kind and kind.reader == "ffmpeg":
        return None
    if kind and not kind.complete:
        raise MediaError("the image is damaged (the file is shorter than its header says). Get a new copy.")
    try:
        return PictureFile(source)
    except UnidentifiedImageError:
        if kind:
            raise MediaError(f"it is {kind.name}, but damaged or of a kind that is not supported. {kind.cure}") from None
        return None


def _open_temporary(name: str, path: Path) -> Media:
    """Open a temporary file, which is deleted with the Media."""
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
        raise MediaError(
            f"{name} of {pixels.dtype}: not pixels. Give uint8 RGB of shape (height, width, 3) or (n, height, width, 3)."
        )
    if pixels.ndim == 3:
        return Media(name, Pixels(pixels[None], 0))
    if not rate or not 0 < rate < 100_000:
        raise MediaError(f"{name}: a stack of frames needs a frame rate. Set fps to the number of frames per second.")
    return Media(name, Pixels(pixels, rate))
