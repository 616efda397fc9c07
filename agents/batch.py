"""Ask many questions concurrently: `espresso.ask_many` and `espresso.aask_many`.

    for answer in espresso.ask_many(questions, profile="tiny@localhost:8000"):
        ...

Questions are read when there is room for them and answers are yielded in their order, so neither
has to fit into memory. Of the questions about one clip the first captions it, and the others wait
for the captions only. Many concurrent questions fill the batches of a model; `concurrency` in a
profile's role limits the requests that its server gets at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from agents.answer.graph import NodeStarted
from agents.ask import answer
from agents.session import Session, shared_session
from espresso.errors import EspressoError, QuestionError
from espresso.options import Strategy
from espresso.profiles import Profile
from espresso.schema import Answer, Question

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 64
"""Questions in progress: enough to fill a server's batches, few enough for memory."""


async def bounded(
    items: Iterable[Item], work: Callable[[Item], Awaitable[Result]], limit: int = AT_ONCE
) -> AsyncGenerator[Result, None]:
    """Run `work` on at most `limit` items at once and yield the results in the items' order.

    As many results again may wait for an earlier one, so an item in a late batch does not hold up
    the rest. The first item that fails raises its error at once. Whatever still runs when the
    generator ends is cancelled.
    """
    source, tasks, exhausted = iter(items), deque[asyncio.Task[Result]](), False

    async def run(item: Item) -> Result:
        return await work(item)

    try:
        while not exhausted or tasks:
            busy = [task for task in tasks if not task.done()]
            if failed := next((task for task in tasks if task.done() and task.exception()), None):
                failed.result()
            elif tasks and tasks[0].done():
                yield tasks.popleft().result()
            elif exhausted or len(busy) >= limit or len(tasks) >= 2 * limit:
                await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
            else:
                try:
                    tasks.append(asyncio.create_task(run(next(source))))
                except StopIteration:
                    exhausted = True
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class SharedCaptions:
    """Of concurrent questions about the same visuals, the first captions them for all.

    The others wait for its captions only, and find them in the cache.
    """

    def __init__(self) -> None:
        self._captioning: dict[Hashable, asyncio.Event] = {}

    @asynccontextmanager
    async def turn(self, visuals: Hashable) -> AsyncIterator[Callable[[NodeStarted], None]]:
        """Wait for the captions of the same visuals, if another question makes them.

        Args:
            visuals: what the questions have in common, such as the paths or digests of the visuals.

        Yields:
            A function to call when a node of the answer graph starts (`on_progress`).
        """
        done = asyncio.Event()

        def on_progress(node: NodeStarted) -> None:
            if node.role in ("selector", "reasoner"):
                done.set()

        if (earlier := self._captioning.setdefault(visuals, done)) is not done:
            await earlier.wait()
        try:
            yield on_progress
        finally:
            done.set()
            if self._captioning.get(visuals) is done:
                del self._captioning[visuals]


async def aask_many(
    questions: Iterable[Question],
    *,
    profile: str | Path | Profile | None = None,
    session: Session | None = None,
    strategy: Strategy | None = None,
    frames: int | None = None,
    allow_urls: bool = False,
    allow_out_of_domain: bool = False,
    boxes: bool = False,
    at_once: int = AT_ONCE,
) -> AsyncGenerator[Answer | EspressoError, None]:
    """Ask many questions; if one cannot be answered, its error is yielded in its place.

    An unexpected exception is logged with its traceback and yielded as an EspressoError whose
    `__cause__` it is.

    Close the generator (`contextlib.aclosing`) to cancel what is in progress.

    Args:
        questions: the questions, each with the paths of its visuals.
        profile: a profile, its name or the path of its file. None is ESPRESSO_PROFILE, else `tiny`.
        session: the profile, models and cache to use; `profile` is ignored then.
        strategy: how core frames are found, see `espresso.options.Strategy`. None is the profile's
            own.
        frames: the most core frames that the selector may choose, or the number of frames of
            `uniform`.
        allow_urls: whether visuals are fetched from http and https URLs.
        allow_out_of_domain: whether to answer about visuals that the profile's models do not know.
            The answer has a warning and no confidence then; otherwise it is a QuestionError.
        boxes: whether to locate the things that the evidence names in the core frames, with the
            profile's detector (`Evidence.key_items`).
        at_once: how many questions are in progress at once.
    """
    used = session or shared_session(profile)
    captions = SharedCaptions()

    async def ask(question: Question) -> Answer | EspressoError:
        try:
            async with captions.turn(question.visuals) as on_progress:
                return await answer(
                    question,
                    used,
                    strategy=strategy,
                    frames=frames,
                    allow_urls=allow_urls,
                    allow_out_of_domain=allow_out_of_domain,
                    boxes=boxes,
                    on_progress=on_progress,
                )
        except EspressoError as error:
            return error
        except Exception as error:
            logger.exception("question %s failed", getattr(question, "id", question))
            unexpected = EspressoError(f"{type(error).__name__}: {error}")
            unexpected.__cause__ = error
            return unexpected

    async with aclosing(bounded(questions, ask, at_once)) as answers:
        async for each in answers:
            yield each


def ask_many(
    questions: Iterable[Question],
    *,
    profile: str | Path | Profile | None = None,
    session: Session | None = None,
    strategy: Strategy | None = None,
    frames: int | None = None,
    allow_urls: bool = False,
    allow_out_of_domain: bool = False,
    boxes: bool = False,
    at_once: int = AT_ONCE,
) -> Iterator[Answer | EspressoError]:
    """Ask many questions from synchronous code or a notebook, see `aask_many`.

    The questions are asked in a background thread, which continues while the caller is busy.

    Raises:
        QuestionError: the iterator was made by another process, before `os.fork`: the thread does
            not exist in this one.
    """
    used, owner = session or shared_session(profile), os.getpid()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True, name="ask-many")
    thread.start()
    answers = aask_many(
        questions,
        session=used,
        strategy=strategy,
        frames=frames,
        allow_urls=allow_urls,
        allow_out_of_domain=allow_out_of_domain,
        boxes=boxes,
        at_once=at_once,
    )

    async def stop() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await answers.aclose()
        await used.roles.disconnect()

    try:
        while each := asyncio.run_coroutine_threadsafe(_next(answers), loop).result():
            yield each
            if os.getpid() != owner:
                raise QuestionError("these questions are asked by the process that forked this one. Call ask_many again here.")
    finally:
        if os.getpid() == owner and not sys.is_finalizing():  # the thread does not run any more when Python exits
            asyncio.run_coroutine_threadsafe(stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _next(answers: AsyncGenerator[Answer | EspressoError, None]) -> Answer | EspressoError | None:
    return await anext(answers, None)
