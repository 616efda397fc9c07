"""Concurrent requests to a judge: results in order, and progress for each."""

import asyncio

import pytest

from espresso.errors import ServerDownError
from eval.judge_audit.progress import with_progress


def run(items, work):
    seen = []
    results = asyncio.run(with_progress(items, work, "judging", seen.append))
    return results, [(progress.doing, progress.done, progress.total) for progress in seen]


def test_results_are_in_the_order_of_the_items():
    async def work(item):
        await asyncio.sleep(0.01 * (3 - item))
        return 10 * item

    results, progress = run([0, 1, 2], work)
    assert results == [0, 10, 20]
    assert progress == [("judging", done, 3) for done in range(4)]


def test_requests_run_concurrently():
    waiting = set()

    async def work(item):
        waiting.add(item)
        while len(waiting) < 5:
            await asyncio.sleep(0)
        return item

    assert run(range(5), work)[0] == list(range(5))


def test_a_server_that_goes_down_is_an_error_with_the_number_of_replies():
    async def work(item):
        if item == 2:
            await asyncio.sleep(0.05)
            raise ServerDownError("could not connect.")
        await asyncio.sleep(10 if item == 3 else 0)
        return item

    with pytest.raises(ServerDownError, match=r"could not connect\. 2 of 4 replies are cached; run the same command again"):
        run(range(4), work)
