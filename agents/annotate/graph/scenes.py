"""Merge what is redundant in captions, and group the rest (VideoEspresso, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.annotate.graph.state import Group, Scene
from espresso.schema import Caption

GROUP_SCENES = 15
"""Most scenes in a group."""


def find_scenes(captions: Sequence[Caption], vectors: np.ndarray, duration: float, same_above: float) -> list[Scene]:
    """Merge frames whose captions resemble that of the last scene's first frame.

    Args:
        captions: captions in time order.
        vectors: their embeddings, unit vectors of shape (captions, dimensions).
        duration: length of the video in seconds.
        same_above: cosine similarity above which two captions say the same.
    """
    if not captions:
        return []
    starts = list[int]()
    for position in range(len(captions)):
        if not starts or float(vectors[position] @ vectors[starts[-1]]) <= same_above:
            starts.append(position)
    times = [caption.frame.time for caption in captions]
    bounds = [0.0, *((times[start - 1] + times[start]) / 2 for start in starts[1:]), max(duration, times[-1])]
    return [
        Scene(
            text=captions[start].text,
            frames=tuple(caption.frame for caption in captions[start:end]),
            start=bounds[number],
            end=bounds[number + 1],
        )
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(captions)], strict=True))
    ]


def group_scenes(scenes: Sequence[Scene]) -> list[Group]:
    """Divide scenes into consecutive groups of about equal size, of at most `GROUP_SCENES`."""
    count = -(-len(scenes) // GROUP_SCENES)
    return [Group(number=number, scenes=tuple(part)) for number, part in enumerate(_divide(scenes, count))]


def _divide(scenes: Sequence[Scene], count: int) -> list[Sequence[Scene]]:
    return [scenes[number * len(scenes) // count : (number + 1) * len(scenes) // count] for number in range(count)]


def match_scenes(similarity: np.ndarray) -> list[int]:
    """Return the scene that each cited caption resembles most.

    Of equally similar scenes, the first one after the scene of the caption before is chosen, else
    the first one: captions are cited in time order.

    Args:
        similarity: cosine of each cited caption with each scene's caption, shape (cited, scenes).
    """
    matched, last = list[int](), -1
    for row in similarity:
        best = np.flatnonzero(row >= row.max() - 1e-4)
        last = int(next((scene for scene in best if scene > last), best[0]))
        matched.append(last)
    return matched
