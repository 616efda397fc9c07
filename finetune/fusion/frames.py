"""Frames of the visuals of pairs, rendered or decoded when a batch needs them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from espresso.datasets.frames import uniform_frames
from espresso.datasets.raiv import world
from espresso.datasets.raiv.situations import VisualReference
from espresso.media.segment import segment_source

KEPT = 4096
"""Visuals whose frames are kept in memory; four frames of 112 pixels are 150 kB."""


class FrameReader:
    """Reads evenly spaced frames of visuals.

    Args:
        count: frames of a video; an image has one.
        size: longest side in pixels.
    """

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self.read = lru_cache(maxsize=KEPT)(self._read)

    def _read(self, visual: VisualReference) -> tuple[np.ndarray, ...]:
        """Return the frames, each (height, width, 3) uint8. Raises MediaError."""
        if visual.path.startswith("world:"):
            return tuple(frame.pixels(self.size) for frame in world.frames(visual, self.count))
        source = segment_source(visual.path, *(visual.span or (None, None)))
        return tuple(frame.pixels(self.size) for frame in uniform_frames((source,), self.count))
