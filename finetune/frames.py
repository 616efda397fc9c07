"""Frames of the visuals of pairs, rendered or decoded when a batch needs them."""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np

from espresso.datasets.frames import uniform_frames
from espresso.datasets.raiv import world
from espresso.datasets.raiv.situations import VisualReference
from espresso.media.segment import segment_source

KEPT = 2**30
"""Bytes of frames that a reader keeps in memory, if all visuals are square videos."""


@cache
def frame_reader(count: int, size: int) -> FrameReader:
    """Return the reader of this process, so that one training after another shares its frames."""
    return FrameReader(count, size)


class FrameReader:
    """Reads evenly spaced frames of visuals.

    Args:
        count: frames of a video; an image has one.
        size: longest side in pixels.
    """

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self.read = lru_cache(maxsize=max(1, KEPT // (3 * count * size**2)))(self._read)

    def _read(self, visual: VisualReference) -> tuple[np.ndarray, ...]:
        """Return the frames, each (height, width, 3) uint8. Raises MediaError."""
        if visual.path.startswith("world:"):
            return tuple(frame.pixels(self.size) for frame in world.frames(visual, self.count))
        source = segment_source(visual.path, *(visual.span or (None, None)))
        return tuple(frame.pixels(self.size) for frame in uniform_frames((source,), self.count))
