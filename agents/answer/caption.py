"""Caption the sampled frames one by one, for a language model to choose among (VideoEspresso, 4).

Cached captions are reused: a second question about a clip captions no frame.
"""

from __future__ import annotations

import asyncio
import json

import prompts
from agents.answer.context import AnswerContext
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import make_step
from espresso.cache import CachedCaption, CaptionKey
from espresso.schema import Caption

MAX_TOKENS = 128


async def caption(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Fill `captions`, one for each of `frames`, in their order. Raises ModelError."""
    session = context.session
    captioner, style, cache = session.roles.captioner, session.profile.prompts, session.cache
    prompt = await asyncio.to_thread(prompts.digest, "caption", style=style)
    options = session.profile.captioner.image_options
    view = json.dumps(options, sort_keys=True) if options else ""
    keys = {
        frame: CaptionKey(
            context.visuals[frame.visual].visual.digest, frame.index, session.profile.frame_size, captioner.name, prompt, view
        )
        for frame in state.frames
    }
    cached = await asyncio.to_thread(cache.captions, list(keys.values())) if cache else {}
    missing = [frame for frame in state.frames if keys[frame] not in cached]
    shown = await context.show(missing)
    conversations = [prompts.render("caption", style=style, frame=frame).messages for frame in shown]
    replies = await captioner.chat_many(conversations, max_tokens=MAX_TOKENS) if conversations else []
    new = {
        keys[frame]: CachedCaption(reply.text.strip(), reply.tokens_in, reply.tokens_out, reply.tokens_visual)
        for frame, reply in zip(missing, replies, strict=True)
    }
    if cache and new:
        await asyncio.to_thread(cache.put_captions, new)
    captions = cached | new
    return AnswerUpdate(
        captions=tuple(Caption(frame=frame, text=captions[keys[frame]].text) for frame in state.frames),
        trace=make_step(
            "caption",
            replies,
            model=captioner,
            prompt=prompt,
            frames=len(state.frames),
            saved=list(cached.values()),
            notes=[cache.error_note if cache else None],
        ),
    )
