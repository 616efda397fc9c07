"""Recognize pictures of this world: models that know nothing else should not see others.

Each scene of the world has a fixed background. A picture of the world matches one of these
backgrounds wherever nothing is drawn over it; photographs, slides and other cartoons match none.
`benchmarks/recognize.py` measures the error rates.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from espresso.world.cast import LAYOUTS
from espresso.world.draw import PLACES, render
from espresso.world.story import Story

GRID = 112
"""Pictures are compared at GRID x GRID points, so they may have any size."""

TOLERANCE = 20
"""Largest difference of a colour channel, 0 to 255, between equal colours.

About the error of a JPEG of quality 10.
"""

MIN_AREA = 0.015
"""Smallest area of a compared region, as a share of the background.

Objects may cover a smaller region completely.
"""

MIN_MATCH = 0.4
"""Smallest match of a picture of the world.

It lies half-way between the highest match of 1,296 other images (0.34) and the lowest match of a
clip of the train split as rendered (0.46).
"""


def is_world(frames: np.ndarray) -> bool:
    """Return whether all frames are pictures of the world.

    Args:
        frames: uint8 RGB of shape (n, height, width, 3), of any size, n at least 1.
    """
    return bool((background_match(frames) >= MIN_MATCH).all())


def background_match(frames: np.ndarray) -> np.ndarray:
    """Return how well each frame matches the background that fits it best.

    A background consists of regions of one colour each: floor, sky, wall, road and so on. The match
    of a region is the share of its points at which the frame has the region's colour. The match of
    a background is that of its worst region. So neither a plain picture in the colour of the floor
    nor shapes at other positions match.

    Args:
        frames: uint8 RGB of shape (n, height, width, 3).

    Returns:
        Shape (n,), 0 to 1.
    """
    points = _points(frames)
    return np.max([_match(points, background, regions) for background, regions in _backgrounds()], axis=0)


def _match(points: np.ndarray, background: np.ndarray, regions: list[np.ndarray]) -> np.ndarray:
    """Return the match of the points of frames with one background, shape (n,)."""
    equal = np.abs(points - background).max(axis=-1) <= TOLERANCE
    return np.min([equal[:, region].mean(axis=1) for region in regions], axis=0)


def _points(frames: np.ndarray) -> np.ndarray:
    """Return the colours at a regular grid of points, int16 of shape (n, GRID, GRID, 3)."""
    rows, columns = (((np.arange(GRID) + 0.5) * length / GRID).astype(int) for length in frames.shape[1:3])
    return frames[:, rows[:, None], columns].astype(np.int16)


@cache
def _backgrounds() -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Return (points, regions) of all backgrounds. A region is a mask of shape (GRID, GRID)."""
    scenes = [
        Story(place, "train", 0, layout, cast=(), beats=(), motifs=(), needed=(), causes=(), lamp=False, duration=1.0)
        for place in PLACES
        for layout in range(LAYOUTS)
    ]
    pictures = {picture.tobytes(): picture for picture in (render(scene, 0.0) for scene in scenes)}
    return [(points, _regions(points)) for points in _points(np.stack(list(pictures.values())))]


def _regions(points: np.ndarray) -> list[np.ndarray]:
    """Return the mask of each large region of a background.

    Masks exclude the edges of a region, which scaling and compression blur.
    """
    colours = points @ np.array([65536, 256, 1])
    masks = [_without_edges(colours == colour) for colour in np.unique(colours)]
    return [mask for mask in masks if mask.mean() >= MIN_AREA]


def _without_edges(mask: np.ndarray) -> np.ndarray:
    """Return a mask of the points with only points of the mask around them."""
    padded = np.pad(mask, 1, mode="edge")
    return np.all([padded[row : row + GRID, column : column + GRID] for row in range(3) for column in range(3)], axis=0)
