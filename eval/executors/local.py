"""Run samples in this process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

from agents.batch import bounded
from agents.session import Session
from espresso.schema import Question
from eval.sample import Sample, run_sample
from eval.task import EvalTask

CLIPS_AT_ONCE = 32
"""Clips in progress: enough to fill a local model's batches, few enough for memory."""

QuestionGroup = Sequence[Question]
"""The questions about one clip: they run one after the other, so the clip is captioned once."""
Keep = Callable[[Sample], None]
"""Records a sample as soon as it is done; an error that it raises ends the run."""
Executor = Callable[[Sequence[QuestionGroup], Keep], Awaitable[None]]
"""Runs all questions and passes each sample to `Keep` once, in any order."""


async def run(groups: Sequence[QuestionGroup], keep: Keep, *, task: EvalTask, session: Session) -> None:
    """Run the questions about many clips concurrently.

    Raises ServerDownError, and what `keep` raises.
    """

    async def run_group(group: QuestionGroup) -> None:
        for question in group:
            keep(await run_sample(question, task, session))

    async with aclosing(bounded(groups, run_group, CLIPS_AT_ONCE)) as done:
        async for _ in done:
            pass
