"""Select the core frames: the few frames that a question needs (VideoEspresso, section 4).

A small language model reads the captions in time order and returns frame numbers by schema; numbers
that were not offered are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from pydantic import BaseModel

from agents.answer.context import AnswerContext
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import fit_prompt, make_step
from espresso.media import evenly_spaced
from espresso.schema import Caption, CoreFrame

MAX_TOKENS = 128


class FrameChoice(BaseModel):
    """The selector's reply."""

    frames: list[int]
    """Numbers of the frames that the question needs."""


@dataclass(frozen=True)
class NumberedCaption:
    """A caption as the selector reads it."""

    number: int
    """Its number in the prompt, from 1."""

    time: float
    """Seconds."""

    text: str
    caption: Caption


def distinct_positions(captions: Sequence[object]) -> list[int]:
    """Return the positions of the captions to read: the middle one of each run of equal neighbours.

    VideoEspresso, section 3.2, drops a frame if its caption resembles the last one that was kept.
    """
    runs = [list(run) for _, run in groupby(range(len(captions)), key=lambda position: captions[position])]
    return [run[len(run) // 2] for run in runs]


async def select(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Add to `core_frames` from `captions`.

    Use evenly spaced frames, with a note, if the reply is unusable.

    Frames that are core frames already are not offered again. Raises ModelError.
    """
    selector, profile = context.session.roles.selector, context.session.profile
    taken = {core.frame for core in state.core_frames}
    distinct = distinct_positions([(each.frame.visual, each.text) for each in state.captions])
    offered = [
        NumberedCaption(number, caption.frame.time, caption.text, caption)
        for number, caption in enumerate((state.captions[position] for position in distinct), 1)
        if caption.frame not in taken
    ]
    budget = state.limit or profile.core_frames
    shown, prompt, note = await fit_prompt(
        "select",
        offered,
        selector,
        listed_as="captions",
        style=profile.prompts,
        max_tokens=MAX_TOKENS,
        question=state.question.text,
        budget=budget,
    )
    reply = await selector.chat(prompt.messages, schema=FrameChoice, max_tokens=MAX_TOKENS)
    by_number = {item.number: item for item in shown}
    numbers = dict.fromkeys(reply.parsed.frames) if isinstance(reply.parsed, FrameChoice) else {}
    chosen = [by_number[number] for number in numbers if number in by_number][:budget]
    fallback = None
    if not chosen:
        chosen = evenly_spaced(offered, budget)
        why = f"gave no frames: {reply.fault}" if reply.fault else f"named no sampled frame: {reply.text[:80]!r}"
        fallback = f"the selector {why}; evenly spaced frames are used"
    cores = [
        CoreFrame(frame=item.caption.frame, why="evenly spaced" if fallback else item.text or "named by the selector")
        for item in chosen
    ]
    return AnswerUpdate(
        core_frames=tuple(sorted([*state.core_frames, *cores], key=lambda core: (core.frame.visual, core.frame.index))),
        rounds=state.rounds + 1,
        trace=make_step("select", [reply], model=selector, prompt=prompt.hash, frames=len(chosen), notes=[note, fallback]),
    )
