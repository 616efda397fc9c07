"""Frames of image and video files, as training examples refer to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from espresso import media
from espresso.media.plan import candidates


class FrameReference(Protocol):
    """A frame that is decoded or rendered when it is needed."""

    @property
    def time(self) -> float:
        """Seconds from the start of the visual."""
        ...

    def pixels(self, size: int) -> np.ndarray:
        """Return the frame's pixels.

        Args:
            size: longest side in pixels; a smaller frame is not enlarged.

        Returns:
            RGB of shape (height, width, 3), uint8.

        Raises:
            MediaError: the frame cannot be decoded.
        """
        ...


@dataclass(frozen=True)
class VideoFrame:
    """A frame of an image or video file."""

    source: str
    """Path of the file."""

    time: float
    """Seconds from the start. The frame of a video is the nearest one to this time."""

    def pixels(self, size: int) -> np.ndarray:
        """Decode the frame. See `FrameReference.pixels`."""
        clip = open_shared(self.source)
        frame: np.ndarray = clip.decode([int(np.abs(clip.times - self.time).argmin())], size=size)[0]
        return frame


@lru_cache(maxsize=64)
def open_shared(source: str) -> media.Media:
    """Open a file once for all of its frames. Raises MediaError."""
    return media.open(source)


def frame_size(source: str) -> tuple[int, int]:
    """Return (width, height) of a file's frames in pixels. Raises MediaError."""
    clip = open_shared(source)
    return clip.width, clip.height


def uniform_frames(sources: Sequence[str], count: int) -> tuple[VideoFrame, ...]:
    """Return evenly spaced frames, the same as the strategy `uniform` shows.

    Args:
        sources: paths of the visuals, which share the frames. The first ones take the remainder.
        count: number of frames; fewer are returned if the visuals have fewer.

    Raises:
        MediaError: a visual cannot be opened.
    """
    frames = list[VideoFrame]()
    for source, share in zip(sources, split_count(count, len(sources)), strict=True):
        if share:
            clip = open_shared(source)
            frames += [VideoFrame(source, float(clip.times[i])) for i in candidates(media.uniform(share), clip.times, clip.end)]
    return tuple(frames)


def split_count(count: int, parts: int) -> list[int]:
    """Split a number into equal parts; the first ones take the remainder."""
    share, remainder = divmod(count, parts)
    return [share + (position < remainder) for position in range(parts)]
