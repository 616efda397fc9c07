"""Core frames by what they do for the reasoner: those from which it finds the reference answer likeliest.

Frame-Voyager (Yu et al., ICLR 2025) ranks sets of frames by a video model's loss on the reference and teaches its selector the
ranking: labels that cost no one's marking. Its sets are all of one size; these grow a frame at a time from the best frame or
pair, which takes 164 prompts where all sets of up to four of sixteen frames would take 2,516, and stop where another frame
gains nothing, so that they tell how many frames are needed too. The reference is read: such frames are labels, no way to answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import combinations
from math import log

from agents.answer.answer import reply
from agents.answer.context import Run
from agents.answer.evidence import evidence
from agents.answer.select import changed
from agents.answer.state import AnswerState
from espresso.errors import DataError
from espresso.schema import Caption, CoreFrame, Frame, Question, letter

GAIN = 0.05
"""Nats by which the reference must grow likelier for a set to be worth one frame more."""
LEAST = 1e-9
"""A probability that is taken for none."""


async def ranked(question: Question, reference: str, captions: Sequence[Caption], run: Run) -> list[Frame]:
    """Choose among the captioned frames, of like neighbours one; at most as many as the profile's selector may.

    question: as the reasoner is asked it, with options, of which `reference` is one. Raises DataError where it has none,
    MediaError and ModelError.
    """
    if not question.options:
        raise DataError(f"question {question.id}: frames are ranked by the odds of its options, and it has none.")
    right = letter(question.options.index(reference))
    kept = changed([(each.frame.visual, each.text) for each in captions])
    offered = [captions[position].frame for position in kept]
    best: tuple[Frame, ...] = ()
    worth = float("-inf")
    sets = [(frame,) for frame in offered] + list(combinations(offered, 2))
    while sets:
        found = await asyncio.gather(*(_worth(question, right, frames, run) for frames in sets))
        # A pair has to gain by itself what a larger set has to.
        value, frames = max(zip(found, sets, strict=True), key=lambda each: each[0] - GAIN * len(each[1]))
        if value < worth + GAIN:
            break
        best, worth = frames, value
        more = [(*best, frame) for frame in offered if frame not in best] if len(best) < run.settings.core_frames else []
        sets = [tuple(sorted(frames, key=lambda frame: (frame.visual, frame.index))) for frames in more]
    return list(best)


async def _worth(question: Question, right: str, frames: Sequence[Frame], run: Run) -> float:
    """Log-probability of the right option, asked as the graph asks it."""
    state = AnswerState(question=question, core_frames=tuple(CoreFrame(frame=frame, why="tried") for frame in frames))
    if not run.settings.direct:
        state = state.model_copy(update={"evidence": (await evidence(state, run))["evidence"]})
    return log(max((await reply(state, run))["options_probability"].get(right, 0.0), LEAST))
