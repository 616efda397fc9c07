"""Caption the sampled frames one by one, for a language model to choose among (VideoEspresso, 4).

Cached captions are reused: a second question about a clip captions no frame. A reply that is empty,
cut off, refused or filtered is no caption and is not cached; the selector does not read that frame.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from langgraph.config import get_stream_writer

import prompts
from agents.answer.context import AnswerContext
from agents.answer.state import AnswerState, AnswerUpdate
from agents.ranking.embeddings import embed
from agents.trace import make_step
from espresso.cache import CachedCaption, CaptionKey
from espresso.errors import ModelError
from espresso.models import ChatModel, Completion
from espresso.profiles import LocalRole, ServerRole
from espresso.schema import Caption, Frame

MAX_TOKENS = 128


@dataclass(frozen=True)
class FramesCaptioned:
    """Progress: some frames have captions now, from the cache or from the captioner."""

    captions: tuple[Caption, ...]


async def caption(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Fill `captions`, one for each of `frames` that could be captioned, in their order.

    The trace notes how many could not, and why.

    Raises:
        ModelError: the captioner fails, or none of the frames could be captioned.
    """
    captioner, cache = context.session.roles.captioner, context.session.cache
    write = get_stream_writer()
    captioned = await caption_frames(state.frames, context, lambda captions: write(FramesCaptioned(captions)))
    note = _faults(captioned.replies, len(state.frames), captioner)
    ranker = context.session.roles.ranker if context.session.profile.select_by != "llm" else None
    if ranker and cache:
        # Into the cache, so that selecting among thousands of captions takes no time.
        await embed((each.text for each in captioned.captions), ranker, cache)
    return AnswerUpdate(
        captions=captioned.captions,
        trace=make_step(
            "caption",
            captioned.replies,
            model=captioner,
            prompt=captioned.prompt,
            frames=len(state.frames),
            saved=captioned.cached,
            notes=[cache.error_note if cache else None, note],
        ),
    )


@dataclass(frozen=True)
class CaptionedFrames:
    """Captions of frames, and what they cost."""

    captions: tuple[Caption, ...]
    """One for each frame that could be captioned, in the order of the frames."""

    replies: tuple[Completion, ...]
    """The captioner's replies about the frames that were not cached."""

    cached: tuple[CachedCaption, ...]
    """The captions that came from the cache."""

    prompt: str
    """Hash of the prompt template."""


async def caption_frames(
    frames: Sequence[Frame],
    context: AnswerContext,
    on_captions: Callable[[tuple[Caption, ...]], None] = lambda captions: None,
) -> CaptionedFrames:
    """Caption frames one by one, as far as their captions are not cached.

    Args:
        frames: the frames.
        context: the opened context.
        on_captions: called with the cached captions, then with each new one when it is made.

    Raises:
        MediaError: a frame cannot be decoded.
        ModelError: the captioner fails.
    """
    session = context.session
    captioner, style, cache = session.roles.captioner, session.profile.prompts, session.cache
    prompt = await asyncio.to_thread(prompts.digest, "caption", style=style)
    view = _view(session.profile.captioner)
    keys = {
        frame: CaptionKey(
            context.visuals[frame.visual].visual.digest, frame.index, session.profile.frame_size, captioner.name, prompt, view
        )
        for frame in frames
    }
    cached = await asyncio.to_thread(cache.captions, list(keys.values())) if cache else {}
    if known := _captions(frames, keys, cached):
        on_captions(known)
    missing = [frame for frame in frames if keys[frame] not in cached]

    def on_reply(position: int, reply: Completion) -> None:
        if not reply.fault:
            on_captions((Caption(frame=missing[position], text=reply.text.strip()),))

    shown = await context.show(missing)
    conversations = [prompts.render("caption", style=style, frame=frame).messages for frame in shown]
    replies = await captioner.chat_many(conversations, on_reply=on_reply, max_tokens=MAX_TOKENS) if conversations else []
    new = {
        keys[frame]: CachedCaption(reply.text.strip(), reply.tokens_in, reply.tokens_out, reply.tokens_visual)
        for frame, reply in zip(missing, replies, strict=True)
        if not reply.fault
    }
    if cache and new:
        await asyncio.to_thread(cache.put_captions, new)
    return CaptionedFrames(_captions(frames, keys, cached | new), tuple(replies), tuple(cached.values()), prompt)


def _captions(
    frames: Sequence[Frame], keys: Mapping[Frame, CaptionKey], captions: Mapping[CaptionKey, CachedCaption]
) -> tuple[Caption, ...]:
    """Return the captions of the frames that have one."""
    return tuple(Caption(frame=frame, text=captions[keys[frame]].text) for frame in frames if keys[frame] in captions)


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
