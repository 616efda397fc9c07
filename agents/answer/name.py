"""Name the things in the evidence that a detector can look for in the core frames.

The reasoner lists them, as the writer of constructed data does (VideoEspresso, Figure 9). Evidence
of the tiny models has the words of the world only, so its things are found without a model.
"""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

import prompts
from agents.answer.context import AnswerContext
from agents.answer.state import AnswerState, AnswerUpdate
from agents.grounding import labels_by_text
from agents.trace import make_step
from espresso import world
from espresso.errors import ModelError, ServerDownError
from espresso.schema import KeyItem, Step

MAX_TOKENS = 128
MAX_THINGS = 8
"""Most things to look for; a detector looks for one at a time."""


class Things(BaseModel):
    """The things that evidence names."""

    things: list[str]


async def name(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Fill `key_items`: one without box for each thing and each core frame to look for it in.

    A thing is looked for in the core frames whose captions name it, or in all if none does. A
    failure is a note: an answer without boxes is an answer.

    Raises:
        ServerDownError: the reasoner's server is down.
    """
    if context.session.profile.prompts == "tiny":
        things, step = await asyncio.to_thread(world.things_in, state.evidence), make_step("name")
    else:
        things, step = await _ask(state.evidence, context)
    captions = {each.frame: each.text for each in state.captions}
    frames = [core.frame for core in state.core_frames]
    wanted = labels_by_text(things, [captions.get(frame, "") for frame in frames])
    items = [KeyItem(label=label, frame=frame) for frame, labels in zip(frames, wanted, strict=True) for label in labels]
    return AnswerUpdate(key_items=tuple(items), trace=step)


async def _ask(evidence: str, context: AnswerContext) -> tuple[list[str], tuple[Step]]:
    """Ask the reasoner for the things that evidence names."""
    reasoner = context.session.roles.reasoner
    try:
        prompt = await asyncio.to_thread(prompts.render, "things", style=context.session.profile.prompts, evidence=evidence)
        reply = await reasoner.chat(prompt.messages, schema=Things, max_tokens=MAX_TOKENS)
    except ServerDownError:
        raise
    except ModelError as error:
        return [], make_step("name", model=reasoner, notes=[f"no boxes: {error}"])
    named = reply.parsed.things if isinstance(reply.parsed, Things) else []
    things = list({each.strip().casefold(): each.strip() for each in reversed(named) if each.strip()}.values())[::-1]
    notes = [] if isinstance(reply.parsed, Things) else [f"no boxes: the list of things is unusable ({reply.fault or 'no JSON'})"]
    if len(things) > MAX_THINGS:
        notes.append(f"only the first {MAX_THINGS} of {len(things)} things are looked for")
    return things[:MAX_THINGS], make_step("name", [reply], model=reasoner, prompt=prompt.hash, notes=notes)
