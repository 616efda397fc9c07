"""Pictures that need no video decoder: image files, animated images and pixels in memory."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageOps, UnidentifiedImageError

from espresso.errors import MediaError
from espresso.media.limits import too_many_pixels

pillow_heif.register_heif_opener()

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM", "ICO")
"""Image formats that Pillow may open."""

ANIMATED_FORMATS = ("GIF", "WEBP", "PNG", "AVIF")
"""Formats of animations. In other formats further pictures are pages or thumbnails."""

GIF_TRAILER = b";"
"""The last byte of a GIF file."""

SUBFILE, BITS, PHOTOMETRIC = 254, 258, 262
"""TIFF tags: kind of page, bits per sample, and whether 0 is black (1) or white (0)."""

NO_PAGE = 1 | 4
"""Bits of the TIFF tag `SUBFILE`: a smaller copy, or a mask, of another page."""


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

    Of a file with several pages or pictures, the first full page or the primary picture is read.

    Args:
        file: the path of the file, or its bytes.
        max_pixels: pixels of the largest picture that is decoded, or None.
        max_frames: frames of the longest animation that is decoded, or None.

    Raises:
        UnidentifiedImageError: the file is not an image.
        MediaError: the image is damaged or too large. The message does not include the file name.
    """

    comment: str | None = None
    note: str | None

    def __init__(self, file: Path | bytes, *, max_pixels: int | None = None, max_frames: int | None = None) -> None:
        self._file = file
        with self._open() as image:
            _check_pixels(image, max_pixels)
            count = getattr(image, "n_frames", 1)
            if max_frames and count > max_frames:
                raise MediaError(f"{count:,} frames are more than the limit of {max_frames:,}. Give a part of it.")
            animated = image.format in ANIMATED_FORMATS and count > 1
            durations = []
            self.note = None
            if animated:
                self._first = int(getattr(image, "default_image", False))  # of a PNG, shown where animations are not supported
                for position in range(self._first, count):
                    image.seek(position)
                    image.load()  # WebP sets the frame duration only after loading
                    durations.append((image.info.get("duration") or 100) / 1000)  # browsers show a frame of duration 0 for 0.1 s
                if image.format == "GIF" and not self._bytes().rstrip(b"\0").endswith(GIF_TRAILER):
                    self.note = "truncated: the end of the animation is missing"
            else:
                self._first, self.note = _page(image, count)
            image.seek(self._first)
            _check_pixels(image, max_pixels)  # pages of a file may differ in size
            deep = image.mode.startswith(("I", "F"))
            if deep and _white(image) is None:
                self.note = "its values have no defined range; the lowest is shown as black and the highest as white"
            self.width, self.height = _upright(image).size
            changed = deep or self._first or image.format == "HEIF"
            self._reading = f"{image.format} {image.mode} {self._first}" if changed else ""
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
        except (MediaError, MemoryError):
            raise
        except Exception as error:  # any exception of Pillow is a problem of the file
            raise MediaError(f"the image is damaged ({' '.join(str(error).split())}). Get a new copy.") from None

    def digest(self) -> str:
        """Return the SHA-256 of the file's bytes, and of how it is read (see `Media.digest`)."""
        return hashlib.sha256(self._bytes() + self._reading.encode()).hexdigest()

    def _bytes(self) -> bytes:
        return self._file if isinstance(self._file, bytes) else self._file.read_bytes()

    def read(self, positions: list[int], size: tuple[int, int] | None) -> dict[int, np.ndarray]:
        """Decode the frames at `positions` (ascending), resized to (width, height) if given."""
        frames = {}
        with self._open() as image:
            for position in positions:
                image.seek(self._first + position)
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


def _check_pixels(image: Image.Image, limit: int | None) -> None:
    """Raise MediaError for a picture of more pixels, before it is decoded."""
    if limit and image.width * image.height > limit:
        raise MediaError(too_many_pixels(image.width, image.height, limit))


def _page(image: Image.Image, count: int) -> tuple[int, str | None]:
    """Return which of the `count` pictures of a file to read, and a note if there are others."""
    if image.format == "HEIF" and count > 1:
        return image.tell(), f"it holds {count} pictures; the primary one is read"
    if image.format != "TIFF" or count == 1:
        return 0, None
    pages = []
    for position in range(count):
        image.seek(position)
        if not image.tag_v2.get(SUBFILE, 0) & NO_PAGE:  # type: ignore[attr-defined]
            pages.append(position)
    note = f"it has {len(pages)} pages; the first one is read" if len(pages) > 1 else None
    return pages[0] if pages else 0, note


def _upright(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_grey(image)).convert("RGB")
    image = _turned(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _turned(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation, if it can be read."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # not of the pixels, which are loaded
        return image


def _grey(image: Image.Image) -> np.ndarray:
    """Scale values of more than 8 bits to 0..255: from 0 to white, not from the lowest value up."""
    white = _white(image)
    values = np.nan_to_num(np.asarray(_turned(image), dtype=np.float64), posinf=white or 0)
    low, high = (0.0, white) if white else (values.min(), values.max())
    scaled = np.clip((values - low) * (255 / max(high - low, 1e-9)), 0, 255)
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0:
        scaled = 255 - scaled
    return scaled.round().astype(np.uint8)


def _white(image: Image.Image) -> float | None:
    """Return the value of white: by the number of bits, else the usual one that fits the values.

    Returns None if values are negative or above 16 bits.
    """
    if image.mode.startswith("I;16"):
        return 2.0 ** getattr(image, "tag_v2", {}).get(BITS, (16,))[0] - 1
    usual = {"F": (1.0, 255.0, 65535.0), "I": (65535.0,) if image.format == "PPM" else (255.0, 65535.0)}
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0, neginf=0)
    return next((white for white in usual[image.mode[0]] if values.min() >= 0 and values.max() <= white), None)


def _resized(image: Image.Image, size: tuple[int, int] | None) -> np.ndarray:
    if size is None or size == image.size:
        return np.asarray(image)
    return np.asarray(image.resize(size, Image.Resampling.BOX if size[0] < image.width else Image.Resampling.BICUBIC))
