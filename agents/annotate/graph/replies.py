"""What the writer replies to the prompts of dataset construction, as JSON schemas."""

from __future__ import annotations

from pydantic import BaseModel

from espresso.schema import Task


class WrittenPair(BaseModel):
    """A question and its answer."""

    task: Task

    question: str

    reasoning: str
    """What the captions show that leads to the answer. It comes first, so that a small writer
    reasons before it answers."""

    answer: str


class WrittenPairs(BaseModel):
    """The reply to `write` (VideoEspresso, Figure 7)."""

    pairs: list[WrittenPair]


class Review(BaseModel):
    """The reply to `filter`; a pair is kept if all three hold (VideoEspresso, Figure 8)."""

    reason: str
    """What the captions say to the question, and which criterion is violated. It comes first, as in
    `WrittenPair`."""

    consistent: bool
    """The answer agrees with the captions and is the only one that does."""

    objective: bool
    """The question is neither subjective nor open-ended."""

    continuous: bool
    """Question and answer follow the course of the video."""


class Citation(BaseModel):
    """The reply to `evidence` (VideoEspresso, Figure 9)."""

    captions: list[str]
    """The most relevant captions, quoted."""

    key_items: list[str]
    """The people and objects in them that the answer depends on."""

    evidence: str
    """Why the answer is right, in terms of the key items."""


class Distractors(BaseModel):
    """The reply to `distract`."""

    distractors: list[str]
    """Three wrong answers."""
