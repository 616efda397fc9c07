"""Many questions under way at once: `espresso.ask_many` and `espresso.aask_many`.

    for answer in espresso.ask_many(questions, profile="tiny@localhost:8000"):
        ...

Questions are taken as there is room for them and answers come in their order, so that neither need fit into memory. Of the
questions about one clip the first captions it and the others wait for that alone. A model that is asked by many at once fills
its batches; how many requests a server gets at a time is its role's `concurrency`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

from agents.answer.graph import Progress
from agents.ask import aask
from espresso.errors import EspressoError
from espresso.schema import Answer, Question

Item = TypeVar("Item")
Result = TypeVar("Result")
AT_ONCE = 64
"""Enough to fill the batches of a server while others decode, few enough for their pixels to fit into memory."""
_CAPTIONED_BY = ("select", "evidence", "answer")


async def in_order(
    items: Iterable[Item], work: Callable[[Item], Awaitable[Result]], at_once: int = AT_ONCE
) -> AsyncGenerator[Result, None]:
    """Do `work` on at most `at_once` items at a time; results in the items' order. What is under way at the end is cancelled.

    As many results again may wait for one before them, so that an item whose batch comes late keeps no other from beginning.
    """
    source, under_way = iter(items), deque[asyncio.Task[Result]]()

    async def run(item: Item) -> Result:
        return await work(item)

    try:
        for item in source:
            under_way.append(asyncio.create_task(run(item)))
            while under_way:
                busy = [task for task in under_way if not task.done()]
                if under_way[0].done() or len(under_way) >= 2 * at_once:
                    yield await under_way.popleft()
                elif len(busy) >= at_once:
                    await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
                else:
                    break
        while under_way:
            yield await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def aask_many(
    questions: Iterable[Question], *, at_once: int = AT_ONCE, **settings: Any
) -> AsyncGenerator[Answer | EspressoError, None]:
    """Ask each question of its `visuals`; where one cannot be answered, its error comes in the answer's place.

    at_once: how many questions are under way. settings: as `aask` takes them, but visuals, text, options and on_progress. Leave
    the iterator (`aclosing`) to cancel what is under way.
    """
    captioned: dict[tuple[str, ...], asyncio.Event] = {}

    async def ask(question: Question) -> Answer | EspressoError:
        earlier = captioned.get(question.visuals)
        done = captioned[question.visuals] = earlier or asyncio.Event()
        if earlier:
            await earlier.wait()

        def on_progress(progress: Progress) -> None:
            if progress.node in _CAPTIONED_BY:
                done.set()

        try:
            answer = await aask(question.visuals, question.text, options=question.options, on_progress=on_progress, **settings)
            return answer.model_copy(update={"question": question.asked()})
        except EspressoError as error:
            return error
        finally:
            done.set()

    async with aclosing(in_order(questions, ask, at_once)) as answers:
        async for answer in answers:
            yield answer


def ask_many(questions: Iterable[Question], *, at_once: int = AT_ONCE, **settings: Any) -> Iterator[Answer | EspressoError]:
    """`aask_many` for code that is not asynchronous; works in a notebook too, and goes on while the caller is busy."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True, name="ask-many")
    thread.start()
    many = aask_many(questions, at_once=at_once, **settings)

    async def end() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await many.aclose()

    try:
        while answer := asyncio.run_coroutine_threadsafe(_next(many), loop).result():
            yield answer
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _next(many: AsyncGenerator[Answer | EspressoError, None]) -> Answer | EspressoError | None:
    return await anext(many, None)
