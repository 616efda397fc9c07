"""Ask a judge about many items concurrently, with progress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from agents.batch import bounded
from espresso.errors import ServerDownError
from eval.run import RunProgress

Item = TypeVar("Item")
Result = TypeVar("Result")


async def with_progress(
    items: Sequence[Item],
    work: Callable[[Item], Awaitable[Result]],
    doing: str,
    on_progress: Callable[[RunProgress], None],
) -> list[Result]:
    """Run `work` on all items, a bounded number at once, and return the results in order.

    Args:
        items: what to work on.
        work: asks the judge about one item.
        doing: what the work is, for the progress bar, such as "judging".
        on_progress: called after each result.

    Raises:
        ServerDownError: the judge's server does not answer. Its replies so far are cached.
    """
    done = 0

    async def work_and_count(item: Item) -> Result:
        nonlocal done
        result = await work(item)
        done += 1
        on_progress(RunProgress(doing, done, len(items)))
        return result

    on_progress(RunProgress(doing, 0, len(items)))
    try:
        async with aclosing(bounded(items, work_and_count)) as results:
            return [result async for result in results]
    except ServerDownError as error:
        cached = f"{done} of {len(items)} replies are cached"
        raise ServerDownError(f"{error} {cached}; run the same command again to resume.") from None
