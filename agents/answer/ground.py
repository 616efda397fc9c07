"""Locate the key items of the evidence in the core frames, see `agents.grounding`."""

from __future__ import annotations

import asyncio

from agents.answer.context import AnswerContext
from agents.answer.state import AnswerState, AnswerUpdate
from agents.grounding import locate
from agents.trace import make_step


async def ground(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Fill the boxes of `key_items`; an item that is not found or not verified keeps none.

    Raises:
        MediaError: a core frame cannot be decoded.
        ServerDownError: the detector's server is down.
    """
    labels = tuple(dict.fromkeys(item.label for item in state.key_items))
    wanted = {item.frame: tuple(each.label for each in state.key_items if each.frame == item.frame) for item in state.key_items}
    found = await asyncio.gather(
        *(locate(frame, here, [label for label in labels if label not in here], context) for frame, here in wanted.items())
    )
    return AnswerUpdate(
        key_items=tuple(item for each in found for item in each.items),
        trace=make_step(
            "ground",
            [reply for each in found for reply in each.replies],
            model=context.session.roles.detector,
            prompt=next((each.prompt for each in found if each.prompt), None),
            frames=len(found),
            notes=dict.fromkeys(each.note for each in found),
        ),
    )
