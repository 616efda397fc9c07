"""Pictures that need no video decoder: image files, animated images and pixels in memory."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from espresso.errors import MediaError

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO")
"""Image formats that Pillow may open."""

ANIMATED_FORMATS = ("GIF", "WEBP", "PNG", "AVIF")
"""Formats of animations. In other formats further pictures are pages or thumbnails."""


class Pixels:
    """Frames in memory.

    Args:
        frames: uint8 RGB of shape (n, height, width, 3).
        rate: frames per second, or 0 for a single image.
    """

    comment: str | None = None
    note: str | None = None

    def __init__(self, frames: np.ndarray, rate: float) -> None:
        self._frames = frames
        self.height, self.width = frames.shape[1:3]
        self.times = np.arange(len(frames)) / rate if rate else np.zeros(1)
        self.end = len(frames) / rate if rate else 0.0

    def digest(self) -> str:
        """Return the SHA-256 of the pixels, their shape and their duration."""
        head = f"{self._frames.shape} {self.end}".encode()
        return hashlib.sha256(head + np.ascontiguousarray(self._frames).tobytes()).hexdigest()

    def read(self, positions: list[int], size: tuple[int, int] | None) -> dict[int, np.ndarray]:
        """Return the frames at `positions`, resized to (width, height) if given."""
        if size is None:
            return {position: self._frames[position] for position in positions}
        return {position: _resized(Image.fromarray(self._frames[position]), size) for position in positions}


class PictureFile:
    """An image or animation. EXIF orientation is applied; transparent parts become white.

    Args:
        file: the path of the file, or its bytes.

    Raises:
        UnidentifiedImageError: the file is not an image.
        MediaError: the image is damaged. The message does not include the file name.
    """

    comment: str | None = None
    note: str | None = None

    def __init__(self, file: Path | bytes) -> None:
        self._file = file
        with self._open() as image:
            count = getattr(image, "n_frames", 1) if image.format in ANIMATED_FORMATS else 1
            durations = []
            for position in range(count if count > 1 else 0):
                image.seek(position)
                image.load()  # WebP sets the frame duration only after loading
                durations.append((image.info.get("duration") or 100) / 1000)  # browsers show a frame of duration 0 for 0.1 s
            image.seek(0)
            first = _upright(image)
        self.width, self.height = first.size
        self.times = np.concatenate([[0.0], np.cumsum(durations)[:-1]]) if durations else np.zeros(1)
        self.end = float(sum(durations))

    @contextmanager
    def _open(self) -> Iterator[Image.Image]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(
                    io.BytesIO(self._file) if isinstance(self._file, bytes) else self._file, formats=FORMATS
                ) as image:
                    yield image
        except UnidentifiedImageError:
            raise
        except Image.DecompressionBombError:
            raise MediaError("images of more than 178 million pixels are not supported. Resize the image.") from None
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise MediaError(f"the image is damaged ({error}). Get a new copy.") from None

    def digest(self) -> str:
        """Return the SHA-256 of the file's bytes."""
        return hashlib.sha256(self._file if isinstance(self._file, bytes) else self._file.read_bytes()).hexdigest()

    def read(self, positions: list[int], size: tuple[int, int] | None) -> dict[int, np.ndarray]:
        """Decode the frames at `positions` (ascending), resized to (width, height) if given."""
        frames = {}
        with self._open() as image:
            for position in positions:
                image.seek(position)
                frames[position] = _resized(_upright(image), size)
        return frames


def rgb(image: Image.Image) -> np.ndarray:
    """Convert an image to upright uint8 RGB (height, width, 3), with transparent parts white."""
    return np.asarray(_upright(image))


def thumbnail(pixels: np.ndarray, side: int) -> np.ndarray:
    """Average pixels over a grid of `side` x `side` cells.

    Args:
        pixels: uint8 of shape (height, width, 3).
        side: cells per side.

    Returns:
        uint8 of shape (side, side, 3).
    """
    return _resized(Image.fromarray(pixels), (side, side))


def _upright(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    if image.mode.startswith(("I", "F")):  # 16 bits and more: scale the range of the values to 0..255
        values = np.asarray(image, dtype=np.float64)
        value_range = max(np.ptp(values), 1e-9)
        image = Image.fromarray(((values - values.min()) * (255 / value_range)).astype(np.uint8))
    return image.convert("RGB")


def _resized(image: Image.Image, size: tuple[int, int] | None) -> np.ndarray:
    if size is None or size == image.size:
        return np.asarray(image)
    return np.asarray(image.resize(size, Image.Resampling.BOX if size[0] < image.width else Image.Resampling.BICUBIC))
