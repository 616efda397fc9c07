"""Ask in this process: the engine `local`, and what an engine is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from espresso.schema import Question
from eval.metrics import Sample
from eval.sample import Asking

CLIPS_AT_ONCE = 32
"""Enough waiting requests for a local model to fill its batches, few enough clips in memory."""

Clip = Sequence[Question]
"""All questions about one clip, which are asked in turn, so that it is captioned once."""
Keep = Callable[[Sample], None]
"""Takes a sample as soon as it is there; an error that it raises ends the asking."""
Engine = Callable[[Sequence[Clip], Keep], Awaitable[None]]
"""Asks all questions, and gives each sample to `Keep` once, in whatever order they come."""


async def ask(clips: Sequence[Clip], keep: Keep, *, asking: Asking) -> None:
    """Ask about many clips at the same time. Raises ServerDownError, and what `keep` raises, in an ExceptionGroup."""
    gate = asyncio.Semaphore(CLIPS_AT_ONCE)

    async def ask_about(clip: Clip) -> None:
        async with gate:
            for question in clip:
                keep(await asking.sample(question))

    async with asyncio.TaskGroup() as tasks:
        for clip in clips:
            tasks.create_task(ask_about(clip))
