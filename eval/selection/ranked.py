"""Rank sets of frames by how probable they make the reference answer for the reasoner.

Frame-Voyager (Yu et al., ICLR 2025) ranks sets of frames by a video model's loss on the reference
and trains its selector on the ranking: labels without annotation. Its sets all have one size. The
sets here grow by one frame at a time from the best frame or pair, which takes 164 prompts where all
sets of up to four of sixteen frames would take 2,516. They stop growing when another frame gains
nothing, so they also tell how many frames a question needs. The reference is read: such frames are
labels and no way to answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import combinations
from math import log

from agents.answer.answer import answer
from agents.answer.context import AnswerContext
from agents.answer.evidence import evidence
from agents.answer.select import distinct_positions
from agents.answer.state import AnswerState
from espresso.errors import DataError
from espresso.schema import Caption, CoreFrame, Frame, Question, letter

MIN_GAIN = 0.05
"""Gain in the reference's log-probability (nats) for which a set takes one frame more."""
MIN_PROBABILITY = 1e-9
"""Smaller probabilities count as this one, so that their logarithm exists."""


async def rank_frames(question: Question, reference: str, captions: Sequence[Caption], context: AnswerContext) -> list[Frame]:
    """Choose the best set of captioned frames, at most as many as the selector may choose.

    Args:
        question: the question as the reasoner gets it, with options.
        reference: the correct option.
        captions: captions of the sampled frames; of equal neighbours one frame is offered.
        context: the opened context.

    Raises:
        DataError: the question has no options.
        MediaError: a frame cannot be decoded.
        ModelError: the reasoner does not answer.
    """
    if not question.options:
        raise DataError(f"question {question.id}: ranking frames needs a question with options, and it has none.")
    await context.open(question.visuals)
    question = question.without_truth()
    correct = letter(question.options.index(reference)) if question.options else ""
    kept = distinct_positions([(each.frame.visual, each.text) for each in captions])
    offered = [captions[position].frame for position in kept]
    best: tuple[Frame, ...] = ()
    best_score = float("-inf")
    candidates = [(frame,) for frame in offered] + list(combinations(offered, 2))
    while candidates:
        scores = await asyncio.gather(*(_log_probability(question, correct, frames, context) for frames in candidates))
        # A pair has to gain by itself what a larger set has to.
        score, frames = max(zip(scores, candidates, strict=True), key=lambda each: each[0] - MIN_GAIN * len(each[1]))
        if score < best_score + MIN_GAIN:
            break
        best, best_score = frames, score
        full = len(best) >= context.session.profile.core_frames
        larger = [] if full else [(*best, frame) for frame in offered if frame not in best]
        candidates = [tuple(sorted(frames, key=lambda frame: (frame.visual, frame.index))) for frames in larger]
    return list(best)


async def _log_probability(question: Question, correct: str, frames: Sequence[Frame], context: AnswerContext) -> float:
    """Return the log-probability of the correct option, asked as the graph asks it."""
    state = AnswerState(question=question, core_frames=tuple(CoreFrame(frame=frame, why="ranked") for frame in frames))
    if not context.session.profile.direct:
        state = state.model_copy(update={"evidence": (await evidence(state, context))["evidence"]})
    return log(max((await answer(state, context))["options_probability"].get(correct, 0.0), MIN_PROBABILITY))
