"""Which story stands at which index of a split: fifteen clips, two questions a task, over and over."""

from __future__ import annotations

import numpy as np

from espresso.world.cast import SPLITS, Split, draw_cast, draw_vehicles
from espresso.world.places import kitchen, traffic
from espresso.world.story import Story, compose
from espresso.world.yard import YARD

CYCLE = 15
YARD_CLIPS = 11


def story(split: Split, index: int) -> Story:
    """The story at an index of a split; the same pair gives the same story, and no two splits share one.

    Of each fifteen, eleven play in the yard (two tasks each), two in the kitchen (two tasks each), two in the street.
    The demo split is one yard clip after another with three tasks each.
    """
    rng = np.random.default_rng([SPLITS.index(split), index])
    while True:
        made = _demo(rng, index) if split == "demo" else _draw(rng, split, index)
        if made is not None:
            return made


def _draw(rng: np.random.Generator, split: Split, index: int) -> Story | None:
    cycle, at = divmod(index, CYCLE)
    if at < YARD_CLIPS:
        cast = draw_cast(rng, 5, split)
        gap = 1 + cycle % (len(YARD) - 1)  # which tasks share a clip changes from cycle to cycle; each stands twice in every one
        pair = (at, (at + gap) % len(YARD))
        motifs = [YARD[task](rng, [cast[i] for i in rng.permutation(5)]) for task in pair]
        return compose("yard", split, index, rng, cast, motifs)
    if at < YARD_CLIPS + 2:
        cast = draw_cast(rng, 4, split)
        return compose("kitchen", split, index, rng, cast, kitchen(rng, cast))
    cast = draw_vehicles(rng, 4, split)
    return compose("street", split, index, rng, cast, [traffic(rng, cast)])


def _demo(rng: np.random.Generator, index: int) -> Story | None:
    cast = draw_cast(rng, 5, "demo")
    tasks = rng.permutation(len(YARD))[:3]
    return compose("yard", "demo", index, rng, cast, [YARD[task](rng, [cast[i] for i in rng.permutation(5)]) for task in tasks])
