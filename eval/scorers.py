"""Scorers: from a question and its answer to scores. Ground truth is read here, and only to score.

`score` fits every dataset; `score_world` adds what only the procedural world knows, `score_puzzle`
what generated puzzles show.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from espresso.datasets import world
from espresso.datasets.smart101 import evidence as puzzles
from espresso.models.embedder import Embedder
from espresso.options import Protocol
from espresso.schema import Answer, CoreFrame, Question, Record, Truth
from eval.protocols import first_letter_option, nearest_option, strict_option


class Scores(Record):
    """The scores of one answer."""

    correct: bool
    """Whether the answer comes down to the correct option."""

    chosen: str | None = None
    """The option that the answer comes down to.

    None if it names none, or the question has no options.
    """

    official: bool | None = None
    """Whether a written reply is correct by the rule of VideoEspresso's authors.

    None for other protocols.
    """

    core_precision: float | None = None
    """Share of the core frames that lie in a true span.

    None without core frames or ground truth.
    """

    core_recall: float | None = None
    """Share of the true spans that hold a core frame; None without ground truth."""

    core_reach: float | None = None
    """Share of the time between first and last true span that the core frames cover."""

    hits: int = 0
    """Number of true spans that hold a core frame."""

    needed: int = 0
    """Number of true spans."""

    facts: tuple[bool, ...] = ()
    """Whether each fact in the evidence is true."""

    captions: tuple[bool, ...] = ()
    """Whether each caption is true."""


Scorer = Callable[[Question, Answer], Awaitable[Scores]]
"""Scores an answer.

The question has its reference and ground truth, its options in the order shown.
"""


async def score(question: Question, answer: Answer, *, protocol: Protocol = "choice", embedder: Embedder | None = None) -> Scores:
    """Score an answer against the reference and, if they are known, the true core frames.

    Args:
        question: the question with reference and ground truth, its options in the order shown.
        answer: the answer.
        protocol: how the options were shown, see `eval.protocols`.
        embedder: matches the free answers of the `open` protocol.

    Raises:
        ModelError: the embedder fails.
    """
    chosen: str | None = answer.text
    official = None
    if question.options and protocol == "written":
        chosen = strict_option(answer.text, question.options)
        official = first_letter_option(answer.text, question.options) == question.answer
    elif question.options and protocol == "open" and embedder:
        chosen = await nearest_option(answer.text, question.options, embedder)
    scores = Scores(correct=chosen is not None and chosen == question.answer, chosen=chosen, official=official)
    if question.truth is None or not question.truth.spans:
        return scores
    precision, hits = _precision_and_hits(answer.core_frames, question.truth)
    needed = len(question.truth.spans)
    return scores.model_copy(
        update={
            "core_precision": precision,
            "core_recall": hits / needed,
            "core_reach": _reach(answer.core_frames, question.truth),
            "hits": hits,
            "needed": needed,
        }
    )


async def score_world(
    question: Question, answer: Answer, *, protocol: Protocol = "choice", embedder: Embedder | None = None
) -> Scores:
    """Score an answer about the procedural world: as `score`, and every fact and caption too."""
    scores = await score(question, answer, protocol=protocol, embedder=embedder)
    captions = tuple(
        caption.text == world.true_caption(question.visuals[caption.frame.visual], caption.frame.time)
        for caption in answer.captions
    )
    return scores.model_copy(update={"facts": tuple(world.true_facts(question, answer)), "captions": captions})


async def score_puzzle(
    question: Question, answer: Answer, *, protocol: Protocol = "choice", embedder: Embedder | None = None
) -> Scores:
    """Score an answer to a puzzle (SMART-101): as `score`, and every fact of a generated one."""
    scores = await score(question, answer, protocol=protocol, embedder=embedder)
    return scores.model_copy(update={"facts": puzzles.true_facts(question, answer)})


def _precision_and_hits(core_frames: Sequence[CoreFrame], truth: Truth) -> tuple[float | None, int]:
    """Return the share of core frames in a true span, and the number of true spans hit."""
    frames = [core.frame for core in core_frames]
    inside = sum(any(span.holds(frame) for span in truth.spans) for frame in frames)
    hits = sum(any(span.holds(frame) for frame in frames) for span in truth.spans)
    return inside / len(frames) if frames else None, hits


def _reach(core_frames: Sequence[CoreFrame], truth: Truth) -> float:
    """Return the share of the time between first and last true span that core frames cover."""
    needed = covered = 0.0
    for visual in {span.visual for span in truth.spans}:
        middles = [(span.start + span.end) / 2 for span in truth.spans if span.visual == visual]
        times = [core.time for core in core_frames if core.frame.visual == visual]
        low, high = min(middles), max(middles)
        needed += high - low
        covered += max(0.0, min(high, max(times)) - max(low, min(times))) if times else 0.0
    if not needed:
        return float(any(span.holds(core.frame) for span in truth.spans for core in core_frames))
    return covered / needed
