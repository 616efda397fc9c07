"""Caption the sampled frames one by one, for a language model to choose among (VideoEspresso, 4).

Cached captions are reused: a second question about a clip captions no frame. A reply that is empty,
cut off, refused or filtered is no caption and is not cached; the selector does not read that frame.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence

import prompts
from agents.answer.context import AnswerContext
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import make_step
from espresso.cache import CachedCaption, CaptionKey
from espresso.errors import ModelError
from espresso.models import ChatModel, Completion
from espresso.profiles import LocalRole, ServerRole
from espresso.schema import Caption

MAX_TOKENS = 128


async def caption(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Fill `captions`, one for each of `frames` that could be captioned, in their order.

    The trace notes how many could not, and why.

    Raises:
        ModelError: the captioner fails, or none of the frames could be captioned.
    """
    session = context.session
    captioner, style, cache = session.roles.captioner, session.profile.prompts, session.cache
    prompt = await asyncio.to_thread(prompts.digest, "caption", style=style)
    view = _view(session.profile.captioner)
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
        if not reply.fault
    }
    if cache and new:
        await asyncio.to_thread(cache.put_captions, new)
    captions = cached | new
    note = _faults(replies, len(state.frames), captioner)
    return AnswerUpdate(
        captions=tuple(
            Caption(frame=frame, text=captions[keys[frame]].text) for frame in state.frames if keys[frame] in captions
        ),
        trace=make_step(
            "caption",
            replies,
            model=captioner,
            prompt=prompt,
            frames=len(state.frames),
            saved=list(cached.values()),
            notes=[cache.error_note if cache else None, note],
        ),
    )


def _view(role: LocalRole | ServerRole) -> str:
    """Return the profile's options that change captions, as JSON; empty if there are none."""
    options = role.image_options
    if isinstance(role, ServerRole) and role.extra_body:
        options = {"image_options": options, "extra_body": role.extra_body}
    return json.dumps(options, sort_keys=True) if options else ""


def _faults(replies: Sequence[Completion], frames: int, captioner: ChatModel) -> str | None:
    """Return a note on the replies that are no captions; None if there are none.

    Raises:
        ModelError: not one of the frames has a caption.
    """
    faults = Counter(reply.fault for reply in replies if reply.fault)
    if not faults:
        return None
    ((most_common, _),) = faults.most_common(1)
    if faults.total() == frames:
        raise ModelError(f"{captioner.name} gave no caption of {frames} frames: {most_common}.")
    return f"{faults.total()} of {frames} frames have no caption: {most_common}"
