"""Sample a clip by a plan: decode the frames a model gets to see, once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from espresso.errors import MediaError
from espresso.media.clip import Media, Shrunk, Size
from espresso.media.pictures import thumbnail
from espresso.media.plan import Plan, candidates, choose
from espresso.schema import Frame

THUMB = 32
MAX_BYTES = 256 * 1024**2
"""So many bytes of candidate frames are held to decode a clip only once; for more, small ones are decoded first."""


@dataclass(frozen=True, eq=False)
class Sampled:
    """Frames sampled from a clip, in time order.

    pixels: (m, height, width, 3) uint8 RGB. dropped: near-duplicates left out. note: what is wrong with the file, or None.
    """

    frames: tuple[Frame, ...]
    pixels: np.ndarray
    dropped: int
    note: str | None


def sample(clip: Media, plan: Plan, *, size: Size = None) -> Sampled:
    """Decode the frames of `clip` that `plan` asks for.

    size: longest side in pixels (a smaller picture is not enlarged), or exactly (width, height).
    A cut or damaged file gives the frames it has, and `note` says so. Raises MediaError if it gives none.
    """
    for _ in range(2):
        try:
            return _sample(clip, plan, size)
        except Shrunk:
            continue
    raise MediaError(f"{clip.source}: its frames decode differently each time. The file is damaged; get it anew.")


def _sample(clip: Media, plan: Plan, size: Size) -> Sampled:
    numbers = candidates(plan, clip.times, clip.end).tolist()
    if plan.kind == "uniform":
        return _sampled(clip, numbers, clip.read(numbers, size), 0)
    width, height = clip.fitted(size) or (clip.width, clip.height)
    if len(numbers) * width * height * 3 > MAX_BYTES:
        kept, dropped = choose(plan, clip.read(numbers, (THUMB, THUMB)))
        numbers = [numbers[which] for which in kept]
        return _sampled(clip, numbers, clip.read(numbers, size), dropped)
    pixels = clip.read(numbers, size)
    kept, dropped = choose(plan, np.stack([thumbnail(frame, THUMB) for frame in pixels]))
    return _sampled(clip, [numbers[which] for which in kept], pixels[kept], dropped)


def _sampled(clip: Media, numbers: list[int], pixels: np.ndarray, dropped: int) -> Sampled:
    frames = tuple(Frame(index=number, time=round(float(clip.times[number]), 6)) for number in numbers)
    return Sampled(frames, pixels, dropped, clip.note)
