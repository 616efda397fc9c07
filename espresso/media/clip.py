"""Open an image, a video or a part of a video, and decode frames of it.

A part of a video (`clip.mp4#t=4,6`) behaves as if it had been cut out of the file: frames count
from its first one, and times are seconds from its start. So all code and all records that refer to
frames of a visual also work for parts. Add the start of the part for the time in the file. The
digest is that of the file and the part; nothing cached for one is used for another.
"""

from __future__ import annotations

import hashlib
import io
import os
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
from espresso.media.limits import Limits
from espresso.media.pictures import PictureFile, Pixels, rgb
from espresso.media.process import decoder
from espresso.media.segment import Segment, parse_segment, split_segment
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
    """An image, a video or a part of a video. An image is a video with one frame at 0 s.

    Damage of a video may be detected only when frames are decoded; `times`, `visual` and `note` are
    then updated.
    """

    source: str
    """Path or URL, with the segment of a part of a video, or a description of pixels in memory."""

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
        it, so that captions and samplings cached by that version are not used. So is the segment of
        a part of a video.
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
        limits: limits of the file, or None.
    """

    note: str | None

    def __init__(self, path: Path, complete: bool, limits: Limits | None) -> None:
        self._path, self._limits = path.absolute(), limits
        self._limit_s = limits.decode_s if limits else None
        self._set_index(decoder.ask("index", self._path, None, limits and limits.max_pixels, limit_s=self._limit_s)[0])
        if not complete and not self.note:
            self.note = "truncated: the file is shorter than its header says"

    def _set_index(self, index: dict[str, Any]) -> None:
        self._index = index
        self.width, self.height = index["width"], index["height"]
        self.times = (np.array(index["timestamps"], dtype=np.int64) - index["start"]) * float(index["time_base"])
        self.end, self.comment, self.note = index["end"], index["comment"], index["note"]
        if self._limits:
            self._limits.check_frames(self.width, self.height, len(self.times), self.end)

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
        if len(positions) >= max(64, len(self.times) / 2) and self._index["decord"] and not self._limits:
            try:
                return decoder.ask("read_with_decord", self._path, self._index, positions, size)[1]
            except MediaError:
                pass  # PyAV supports more files and has better error messages
        note, frames = decoder.ask("read", self._path, self._index, positions, size, limit_s=self._limit_s)
        if note and note not in (self.note or ""):
            self.note = f"{self.note}; {note}" if self.note else note
        if len(frames) < len(positions):
            self._set_index(decoder.ask("scan", self._path, self._index, limit_s=self._limit_s)[0])
            raise FrameCountChangedError
        return frames


class _LimitedPicture:
    """An image or animation, read through the decoder process.

    Args:
        path: the file.
        index: what the decoder process found in it.
        limits: limits of the file.
    """

    def __init__(self, path: Path, index: dict[str, Any], limits: Limits) -> None:
        self._path, self._index, self._limits = path.absolute(), index, limits
        self.width, self.height, self.times = index["width"], index["height"], index["times"]
        self.end, self.comment, self.note = index["end"], index["comment"], index["note"]
        limits.check_frames(self.width, self.height, len(self.times), self.end)

    @classmethod
    def open(cls, path: Path, limits: Limits) -> _LimitedPicture | None:
        """Open a file; return None if it is neither an image nor an animation."""
        index, _ = decoder.ask("picture", path.absolute(), _picture_limits(limits), limit_s=limits.decode_s)
        return cls(path, index, limits) if index else None

    def digest(self) -> str:
        return str(self._index["digest"])

    def read(self, positions: list[int], size: tuple[int, int] | None) -> dict[int, np.ndarray]:
        limits = self._limits
        return decoder.ask("read_picture", self._path, _picture_limits(limits), positions, size, limit_s=limits.decode_s)[1]


def _picture_limits(limits: Limits) -> dict[str, Any]:
    return {"max_pixels": limits.max_pixels, "max_frames": limits.max_frames}


class _Part:
    """The frames of a part of a video or animation, with times from the start of the part.

    Args:
        whole: the video.
        segment: the part.

    Raises:
        MediaError: it is an image, or no frame is in the part. The message does not include the
            file name.
    """

    times: np.ndarray
    end: float
    note: str | None

    def __init__(self, whole: _Frames, segment: Segment) -> None:
        if not whole.end:
            raise MediaError("an image has no segments. Leave out the part from `#t=`.")
        self._whole, self._segment = whole, segment
        self.width, self.height, self.comment = whole.width, whole.height, whole.comment
        self._select()

    def _select(self) -> None:
        """Find the frames of the part. Damage of the file, once it is detected, changes them."""
        whole, start, end = self._whole, self._segment.start, self._segment.end
        note = f"; {whole.note}" if whole.note else ""
        if start >= whole.end:
            raise MediaError(
                f"its segment starts at {start:g} s, but the video ends at {whole.end:.2f} s{note}. Give an earlier start."
            )
        first, last = np.searchsorted(whole.times.round(6), (start, end))  # rounded: times are multiples of a time base
        if first == last:
            raise MediaError(f"no frame starts from {start:g} s to {min(end, whole.end):g} s{note}. Give a longer segment.")
        self._first = int(first)
        self.times = np.maximum(whole.times[first:last] - start, 0)
        self.end, self.note = min(end, whole.end) - start, whole.note

    def digest(self) -> str:
        return hashlib.sha256(f"{self._whole.digest()} {self._segment.start} {self._segment.end}".encode()).hexdigest()

    def read(self, positions: list[int], size: tuple[int, int] | None) -> dict[int, np.ndarray]:
        first = self._first
        try:
            frames = self._whole.read([first + position for position in positions], size)
        finally:
            self._select()
        return {position - first: frame for position, frame in frames.items()}


def open(
    source: str | Path | bytes | np.ndarray | Image.Image,
    *,
    fps: float | None = None,
    allow_urls: bool = False,
    limits: Limits | None = None,
    name: str | None = None,
) -> Media:
    """Open an image or a video.

    Args:
        source: path, URL, content of a file, PIL image, or uint8 RGB pixels of shape (height,
            width, 3) or (n, height, width, 3). A path or URL may end in a segment in seconds, such
            as `clip.mp4#t=4,6`, `clip.mp4#t=4` or `clip.mp4#t=,6`: only the frames with
            start <= time < end are opened, see `espresso.media.clip`. A file whose name really
            ends like that is opened completely.
        fps: frames per second of an array of several frames.
        allow_urls: download URLs.
        limits: limits of a path or of the content of a file; None has no limits.
        name: what messages and records call a path or the content of a file; None is the path, or
            the number of bytes.

    Raises:
        MediaError: the file does not exist, is not an image or video, or exceeds the limits; or the
            segment is invalid, empty, outside the video or of an image.
    """
    if isinstance(source, Image.Image):
        return Media(f"{source.mode} image {source.width}x{source.height}", Pixels(rgb(source)[None], 0))
    if isinstance(source, np.ndarray):
        return _open_array(source, fps)
    if isinstance(source, bytes):
        return _open_bytes(source, limits, name)
    if is_url(str(source)):
        return _open_url(str(source), allow_urls)
    return _open_path(str(source), limits, name)


def _open_path(source: str, limits: Limits | None = None, name: str | None = None) -> Media:
    file, segment = split_segment(source)
    if os.path.exists(source) or not os.path.exists(file):
        file, segment = source, ""
    _check(Path(file))
    return _open_file(name or file, Path(file), segment, limits)


def _open_url(url: str, allow_urls: bool) -> Media:
    if (path := local_path(url)) is not None:
        return _open_path(str(path))
    url, segment = split_segment(url)
    name = public(url)
    if not allow_urls and url.lower().startswith("http"):
        raise MediaError(f"{name}: URLs are disabled. Set allow_urls or --allow-urls, or download the file.")
    return _open_temporary(name, fetch(url), segment)


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


def _open_file(name: str, path: Path, segment: str = "", limits: Limits | None = None) -> Media:
    """Open a file, or a part of it; `name` is that of the file in messages."""
    name += segment
    try:
        part = parse_segment(segment) if segment else None
        if limits:
            limits.check_bytes(path.stat().st_size)
        with path.open("rb") as file:
            kind = identify(file)
        picture = _picture(kind, path.absolute(), limits)
        frames = picture or _VideoFile(path, kind is None or kind.complete, limits)
        return Media(name, _Part(frames, part) if part else frames)
    except MediaError as error:
        raise MediaError(f"{name}: {error}") from None


def _open_bytes(data: bytes, limits: Limits | None, name: str | None) -> Media:
    name = name or f"{len(data)} bytes"
    if not data:
        raise MediaError(f"{name}: nothing to open. Give the content of an image or video file.")
    try:
        if limits:
            limits.check_bytes(len(data))
        elif picture := _picture(identify(io.BytesIO(data)), data, None):
            return Media(name, picture)
    except MediaError as error:
        raise MediaError(f"{name}: {error}") from None
    with tempfile.NamedTemporaryFile(prefix="espresso-", delete=False) as file:
        file.write(data)
    return _open_temporary(name, Path(file.name), limits=limits)


def _picture(kind: Kind | None, source: Path | bytes, limits: Limits | None) -> PictureFile | _LimitedPicture | None:
    """Open an image or animation; return None if the file can only be a video.

    Args:
        kind: what the first bytes tell about the file.
        source: its path or content; a path if there are limits.
        limits: limits of the file, or None.

    Raises:
        MediaError: the file is something else, or a damaged image.
    """
    if kind and kind.reader is None:
        raise MediaError(f"it is {kind.name}, not a video or a supported image. {kind.cure}")
    if kind and kind.reader == "ffmpeg":
        return None
    if kind and not kind.complete:
        raise MediaError("the image is damaged (the file is shorter than its header says). Get a new copy.")
    picture: PictureFile | _LimitedPicture | None
    try:
        picture = _LimitedPicture.open(source, limits) if limits and isinstance(source, Path) else PictureFile(source)
    except UnidentifiedImageError:
        picture = None
    if picture is None and kind:
        raise MediaError(f"it is {kind.name}, but damaged or of a kind that is not supported. {kind.cure}")
    return picture


def _open_temporary(name: str, path: Path, segment: str = "", limits: Limits | None = None) -> Media:
    """Open a temporary file, or a part of it; the file is deleted with the Media."""
    try:
        media = _open_file(name, path, segment, limits)
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
