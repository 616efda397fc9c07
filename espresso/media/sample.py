"""Sample a clip by a plan: decode the frames that the models see, once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from espresso.errors import MediaError
from espresso.media.clip import FrameCountChangedError, Media, Size
from espresso.media.pictures import thumbnail
from espresso.media.plan import Plan, candidates, choose
from espresso.schema import Frame

THUMB = 32
"""Side in pixels of the thumbnails that are compared."""

MAX_BYTES = 256 * 1024**2
"""Limit in bytes of all candidate frames in memory; beyond it, thumbnails are decoded first."""


@dataclass(frozen=True, eq=False)
class SampledFrames:
    """Frames sampled from a clip, in time order."""

    frames: tuple[Frame, ...]
    """The m frames."""

    pixels: np.ndarray
    """Their pixels, uint8 RGB of shape (m, height, width, 3)."""

    dropped: int
    """Number of near-duplicates that were dropped."""

    note: str | None
    """What is wrong with the file, or None."""


def sample(clip: Media, plan: Plan, *, size: Size = None) -> SampledFrames:
    """Decode the frames of a clip that a plan selects.

    Args:
        clip: an open image or video.
        plan: the sampling plan.
        size: longest side in pixels (small pictures are not enlarged), (width, height), or None for
            the original size.

    Returns:
        The sampled frames. For a truncated or damaged file, those that can be decoded, with a note.

    Raises:
        MediaError: no frame can be decoded.
    """
    for _ in range(2):
        try:
            return _sample(clip, plan, size)
        except FrameCountChangedError:
            continue
    raise MediaError(f"{clip.source}: decoding gives different frames each time. The file is damaged; get a new copy.")


def _sample(clip: Media, plan: Plan, size: Size) -> SampledFrames:
    indices = candidates(plan, clip.times, clip.end).tolist()
    if plan.kind == "uniform":
        return _sampled(clip, indices, clip.read(indices, size), 0)
    width, height = clip.output_size(size) or (clip.width, clip.height)
    if len(indices) * width * height * 3 > MAX_BYTES:
        chosen, dropped = choose(plan, clip.read(indices, (THUMB, THUMB)))
        indices = [indices[position] for position in chosen]
        return _sampled(clip, indices, clip.read(indices, size), dropped)
    pixels = clip.read(indices, size)
    chosen, dropped = choose(plan, np.stack([thumbnail(frame, THUMB) for frame in pixels]))
    return _sampled(clip, [indices[position] for position in chosen], pixels[chosen], dropped)


def _sampled(clip: Media, indices: list[int], pixels: np.ndarray, dropped: int) -> SampledFrames:
    frames = tuple(Frame(index=index, time=round(float(clip.times[index]), 6)) for index in indices)
    return SampledFrames(frames, pixels, dropped, clip.note)
