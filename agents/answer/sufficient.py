"""Is the evidence enough to answer from? If not, the selector is asked once more, for other frames.

The check reads the evidence and calls no model, so it costs nothing when the evidence is fine: it is not enough when it is empty
or opens by admitting that the frames do not show what was asked.
"""

from __future__ import annotations

from agents.answer.context import Run
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import step

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


async def sufficient(state: AnswerState, run: Run) -> AnswerUpdate:
    """Fill `enough`: whether to answer now, because the evidence says something or because nothing more is to be had."""
    if says_something(state.evidence):
        return AnswerUpdate(enough=True, trace=step("sufficient"))
    more = state.rounds < MAX_ROUNDS and len(state.core_frames) < len(state.frames)
    then = "the selector is asked for other frames" if more else "answered all the same"
    return AnswerUpdate(enough=not more, trace=step("sufficient", notes=[f"the evidence does not show what was asked; {then}"]))


def says_something(evidence: str) -> bool:
    """Whether evidence is more than an admission that there is none."""
    return bool(evidence) and not evidence.lower().startswith(ADMISSIONS)
