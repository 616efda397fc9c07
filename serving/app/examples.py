"""Clips and pairs of the world, with questions, for the first start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from espresso.datasets import world
from espresso.datasets.raiv.questions import DATASET as PAIRS
from espresso.schema import Question

CLIP_QUESTIONS = 9
"""Questions about clips, three about each."""

STATEMENTS = 6
"""Statements about pairs: of images, of an image and a video, and of videos, in turn."""


@dataclass(frozen=True)
class Examples:
    """What the page offers to ask."""

    questions: tuple[Question, ...]
    """About one clip each."""

    statements: tuple[Question, ...]
    """About two visuals each; the options are those of RAIV."""


def load(on_clip: Callable[[int, int], None] | None = None) -> Examples:
    """Render the examples into the cache folder, unless they are there.

    Args:
        on_clip: called with (clips done, all clips).

    Raises:
        DataError: they cannot be written.
    """
    questions = world.questions("test", CLIP_QUESTIONS, on_clip)
    statements = PAIRS.load("test", STATEMENTS, on_clip=on_clip).questions
    return Examples(tuple(map(Question.without_truth, questions)), tuple(map(Question.without_truth, statements)))
