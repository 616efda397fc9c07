"""Assign stories to the indices of a split: cycles of fifteen clips with two questions per task."""

from __future__ import annotations

import numpy as np

from espresso.world.cast import SPLITS, Split, draw_cast, draw_vehicles
from espresso.world.places import kitchen, traffic
from espresso.world.story import Story, compose
from espresso.world.yard import YARD

CYCLE = 15
"""Clips per cycle: eleven in the yard and two in the kitchen with two tasks each, two in the street
with one."""

YARD_CLIPS = 11
"""Yard clips per cycle, one for each yard task."""


def story(split: Split, index: int) -> Story:
    """Return the story at an index of a split.

    The result is deterministic; no two splits share a story. The demo split consists of yard clips
    with three tasks each.
    """
    rng = np.random.default_rng([SPLITS.index(split), index])
    while True:
        result = _demo(rng, index) if split == "demo" else _draw(rng, split, index)
        if result is not None:
            return result


def _draw(rng: np.random.Generator, split: Split, index: int) -> Story | None:
    cycle, position = divmod(index, CYCLE)
    if position < YARD_CLIPS:
        cast = draw_cast(rng, 5, split)
        gap = 1 + cycle % (len(YARD) - 1)  # each task occurs twice per cycle; the pairs change from cycle to cycle
        pair = (position, (position + gap) % len(YARD))
        motifs = [YARD[task](rng, [cast[i] for i in rng.permutation(5)]) for task in pair]
        return compose("yard", split, index, rng, cast, motifs)
    if position < YARD_CLIPS + 2:
        cast = draw_cast(rng, 4, split)
        return compose("kitchen", split, index, rng, cast, kitchen(rng, cast))
    cast = draw_vehicles(rng, 4, split)
    return compose("street", split, index, rng, cast, [traffic(rng, cast)])


def _demo(rng: np.random.Generator, index: int) -> Story | None:
    cast = draw_cast(rng, 5, "demo")
    tasks = rng.permutation(len(YARD))[:3]
    return compose("yard", "demo", index, rng, cast, [YARD[task](rng, [cast[i] for i in rng.permutation(5)]) for task in tasks])
