"""What the page shows while the graph works."""

import asyncio
from contextlib import aclosing

import pytest

from serving.app.ask import follow
from serving.app.shown import Visuals
from serving.app.view import render


@pytest.fixture
def asking(service, folder, questions):
    """Ask the first question without a browser; yield all views."""
    opened = service(folders=(folder,))
    visuals = Visuals(opened)

    async def asking(render_s=0.0, **settings):
        seen = []
        async with aclosing(follow(opened, visuals, questions[0].visuals, questions[0].text, None, **settings)) as views:
            async for view in views:
                seen.append(view)
                await asyncio.sleep(render_s)
        return seen

    return asking


async def test_captions_are_on_the_timeline_before_their_node_ends(asking):
    for _ in range(2):  # the second time from the cache
        views = await asking()
        (during, *_) = (view for view in views if view.captions)
        assert during.running.node == "caption"
        assert not during.state.captions
        html = render(during)
        assert all(caption.text in html for caption in during.captions)
        assert views[-1].answer.captions == views[-1].captions
    assert next(step for step in views[-1].answer.trace if step.node == "caption").cached


async def test_a_page_that_is_slow_to_show_a_view_gets_the_answer_next(asking):
    views = await asking(render_s=3.0)
    assert views[-1].answer
    assert [view.answer for view in views[:-1]] == [None] * (len(views) - 1)


async def test_key_items_are_located_if_boxes_are_wanted(asking):
    *_, last = await asking(boxes=True)
    assert last.answer.evidence.key_items
