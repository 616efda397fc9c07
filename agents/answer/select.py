"""Choose the core frames: the few frames that a question needs.

VideoEspresso, section 4: a small language model reads the captions in time order and names frames. Here it answers by schema, and
frames it could not have seen are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from pydantic import BaseModel

from agents.answer.context import Run
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import fitted, spread, step
from espresso.schema import Caption, CoreFrame

MAX_TOKENS = 128


class FrameChoice(BaseModel):
    """The selector's reply: the numbers of the frames that the question needs."""

    frames: list[int]


@dataclass(frozen=True)
class Numbered:
    """A caption as the selector reads it. time: seconds."""

    number: int
    time: float
    text: str
    caption: Caption


def changed(captions: Sequence[object]) -> list[int]:
    """Positions of the captions to read: of neighbours that say the same, the middle one stands for all.

    VideoEspresso, section 3.2, drops a frame whose caption is like the last kept one's.
    """
    runs = [list(run) for _, run in groupby(range(len(captions)), key=lambda position: captions[position])]
    return [run[len(run) // 2] for run in runs]


async def select(state: AnswerState, run: Run) -> AnswerUpdate:
    """Add to `core_frames` from `captions`; fall back to evenly spread frames, and say so, when the selector's reply is unusable.

    Frames that are core frames already are not offered again. Raises ModelError.
    """
    taken = {core.frame for core in state.core_frames}
    kept = [state.captions[position] for position in changed([(each.frame.visual, each.text) for each in state.captions])]
    offered = [
        Numbered(number, caption.frame.time, caption.text, caption)
        for number, caption in enumerate(kept, 1)
        if caption.frame not in taken
    ]
    budget = state.limit or run.settings.core_frames
    read, prompt, thinned = fitted(
        "select",
        offered,
        run.roles.selector,
        listed_as="captions",
        style=run.settings.prompts,
        max_tokens=MAX_TOKENS,
        question=state.question.text,
        budget=budget,
    )
    reply = await run.roles.selector.chat(prompt.messages, schema=FrameChoice, max_tokens=MAX_TOKENS)
    by_number = {item.number: item for item in read}
    named = dict.fromkeys(reply.parsed.frames) if isinstance(reply.parsed, FrameChoice) else {}
    chosen = [by_number[number] for number in named if number in by_number][:budget]
    fallback = None
    if not chosen:
        chosen = spread(offered, budget)
        fallback = f"selector named no sampled frame: {reply.text[:80]!r}; evenly spread frames were taken"
    cores = [
        CoreFrame(frame=item.caption.frame, why="evenly spread" if fallback else item.text or "named by the selector")
        for item in chosen
    ]
    return AnswerUpdate(
        core_frames=tuple(sorted([*state.core_frames, *cores], key=lambda core: (core.frame.visual, core.frame.index))),
        rounds=state.rounds + 1,
        trace=step(
            "select", [reply], model=run.roles.selector, prompt=prompt.hash, frames=len(chosen), notes=[thinned, fallback]
        ),
    )
