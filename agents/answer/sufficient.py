"""Check whether the evidence suffices for an answer.

If not, the selector is asked once more, for other frames.

The check reads the evidence and calls no model. Evidence does not suffice if it is empty or starts
by admitting that the frames do not show what the question asks.
"""

from __future__ import annotations

from agents.answer.context import AnswerContext
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import make_step

MAX_ROUNDS = 2
ADMISSIONS = (
    "not enough",
    "nothing",
    "no evidence",
    "insufficient",
    "cannot",
    "can't",
    "unclear",
    "unknown",
    "the frames do not",
)


async def sufficient(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Fill `enough`: whether to answer now, or to select other frames first."""
    if suffices(state.evidence):
        return AnswerUpdate(enough=True, trace=make_step("sufficient"))
    select_more = state.rounds < MAX_ROUNDS and len(state.core_frames) < len(state.captions or state.frames)
    then = "asking the selector for other frames" if select_more else "answering anyway"
    notes = [f"the evidence does not show what was asked; {then}"]
    return AnswerUpdate(enough=not select_more, trace=make_step("sufficient", notes=notes))


def suffices(evidence: str) -> bool:
    """Return whether evidence is more than an admission that there is none."""
    return bool(evidence) and not evidence.lower().startswith(ADMISSIONS)
