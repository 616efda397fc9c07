"""Caption the sampled frames, one by one, so that a language model can choose among them (VideoEspresso, section 4).

A caption that is in the cache costs nothing: the second question about a clip captions no frame.
"""

from __future__ import annotations

import prompts
from agents.answer.context import Run
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import step
from espresso.cache import CaptionKey, Kept
from espresso.schema import Caption

MAX_TOKENS = 128


async def caption(state: AnswerState, run: Run) -> AnswerUpdate:
    """Fill `captions`, one for each of `frames`, in their order. Raises ModelError."""
    captioner, style = run.roles.captioner, run.settings.prompts
    prompt = prompts.digest("caption", style=style)
    keys = {
        frame: CaptionKey(run.clips[frame.visual].visual.digest, frame.index, run.settings.frame_size, captioner.name, prompt)
        for frame in state.frames
    }
    known = run.cache.captions(list(keys.values())) if run.cache else {}
    new = [frame for frame in state.frames if keys[frame] not in known]
    shown = await run.show(new)
    asked = [prompts.render("caption", style=style, frame=frame).messages for frame in shown]
    replies = await captioner.chat_many(asked, max_tokens=MAX_TOKENS) if asked else []
    made = {
        keys[frame]: Kept(reply.text.strip(), reply.tokens_in, reply.tokens_out, reply.tokens_visual)
        for frame, reply in zip(new, replies, strict=True)
    }
    if run.cache and made:
        run.cache.keep_captions(made)
    kept = known | made
    return AnswerUpdate(
        captions=tuple(Caption(frame=frame, text=kept[keys[frame]].text) for frame in state.frames),
        trace=step(
            "caption",
            replies,
            model=captioner,
            prompt=prompt,
            frames=len(state.frames),
            saved=list(known.values()),
            notes=[run.cache.trouble if run.cache else None],
        ),
    )
