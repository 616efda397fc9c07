"""Limits on images and videos that nobody has checked, such as uploads to a server."""

from __future__ import annotations

from dataclasses import dataclass

from espresso.errors import MediaError


@dataclass(frozen=True)
class Limits:
    """What a file may ask of this machine; `espresso.media.open` refuses more.

    A file that is opened with limits is read in the decoder processes only, images included, so a
    crash of a library does not end this process.
    """

    max_bytes: int = 64 * 1024**2
    """Size of the file."""

    max_pixels: int = 4096 * 4096
    """Pixels of one frame. A larger frame is not decoded."""

    max_seconds: float = 3600.0
    """Duration."""

    max_frames: int = 250_000
    """Number of frames, the ones that are never decoded included."""

    decode_s: float = 60.0
    """Seconds that one step of decoding may take."""

    def check_bytes(self, size: int) -> None:
        """Raise MediaError for a file of more bytes. The message does not include the file name."""
        if size > self.max_bytes:
            raise MediaError(
                f"{size / 1024**2:,.1f} MB are more than the limit of {self.max_bytes / 1024**2:,.1f} MB. Give a smaller file."
            )

    def check_frames(self, width: int, height: int, count: int, duration: float) -> None:
        """Raise MediaError for larger, more or longer frames.

        Args:
            width: pixels of the upright frames.
            height: pixels of the upright frames.
            count: number of frames.
            duration: seconds.
        """
        if width * height > self.max_pixels:
            raise MediaError(too_many_pixels(width, height, self.max_pixels))
        if count > self.max_frames:
            raise MediaError(f"{count:,} frames are more than the limit of {self.max_frames:,}. Give a part of it.")
        if duration > self.max_seconds:
            raise MediaError(f"{duration:,.1f} s are more than the limit of {self.max_seconds:,.1f} s. Give a part of it.")


def too_many_pixels(width: int, height: int, limit: int) -> str:
    """Return the message that a frame is too large."""
    return f"frames of {width}x{height} pixels are more than the limit of {limit:,} pixels. Give a smaller copy."
