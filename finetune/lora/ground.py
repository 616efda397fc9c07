"""Examples of the grounding stage: a frame and labels -> boxes, from the world's own geometry.

The adapter lets a vision-language model take the place of an object detector in `espresso
annotate`. Public profiles use a detector instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agents.grounding import write_boxes
from espresso import world
from espresso.datasets import Example
from espresso.datasets.world import RenderedFrame
from espresso.errors import DataError
from espresso.world.cast import COLOURS, SHAPES, VEHICLES

MAX_LABELS = 3
ABSENT = 0.15
"""Probability of a label that the frame does not show; it gets no box."""


def grounding_examples(examples: Sequence[Example], seed: int) -> tuple[Example, ...]:
    """Make one grounding example of each example with frames: one of its frames, labels and boxes.

    The question is the labels, separated by commas, and the evidence is the boxes.

    Raises:
        DataError: an example's frames are not rendered by the world.
    """
    made = []
    for number, example in enumerate(examples):
        rng = np.random.default_rng([seed, 2, number])
        frames = [frame for frame in example.frames if isinstance(frame, RenderedFrame)]
        if len(frames) < len(example.frames):
            raise DataError(f"{example.where}: grounding is learned from the world only. Remove sources of other formats.")
        if frames:
            frame = frames[rng.integers(len(frames))]
            labels, boxes = _draw(frame, rng)
            made.append(replace(example, frames=(frame,), question=", ".join(labels), evidence=boxes))
    return tuple(made)


def _draw(frame: RenderedFrame, rng: np.random.Generator) -> tuple[list[str], str]:
    """Draw labels, the things that act first, and write their boxes."""
    story = world.story(frame.split, frame.index)
    visible = {str(sprite.thing): sprite.box(1000) for sprite in world.sprites(story, frame.time)}
    names = [name for name in visible if name in story.caption(frame.time)]
    others = [name for name in visible if name not in names]
    names += [others[i] for i in rng.permutation(len(others))]
    labels = names[: int(rng.integers(1, MAX_LABELS + 1))]
    if rng.random() < ABSENT or not labels:
        absent = f"{rng.choice(list(COLOURS))} {rng.choice((*SHAPES, *VEHICLES))}"
        labels = [*labels[1:], absent] if absent not in visible else labels or [absent]
    return labels, write_boxes([(label, visible[label]) for label in labels if label in visible], 1000, 1000)
