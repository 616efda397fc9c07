"""Select the core frames: the few frames that a question needs (VideoEspresso, section 4).

Three strategies, set by `select_by` of the profile. `llm` is the paper's: a small language model
reads the captions in time order and returns frame numbers by schema; numbers that were not offered
are ignored. `embedding` ranks the captions by their relevance to the question (`agents.ranking`)
and asks no language model. `hybrid` lets the language model read the captions that rank highest. If
the captions exceed the language model's context and the profile has a ranker, `llm` does the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from pydantic import BaseModel

from agents.answer.context import AnswerContext
from agents.answer.state import AnswerState, AnswerUpdate
from agents.ranking.pick import pick
from agents.ranking.rank import Ranking, rank
from agents.session import Session
from agents.trace import fit_prompt, make_step
from espresso.media import evenly_spaced
from espresso.models import ChatModel, Completion
from espresso.models.embedder import Embedder
from espresso.schema import Caption, CoreFrame, Frame, visual_names

MAX_TOKENS = 128
SHORTLIST = 24
"""Captions that the language model reads in `hybrid`."""
SelectBy = Literal["llm", "embedding", "hybrid"]


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

    name: str
    """What prompts call its visual: "the video" or "the first image"."""


@dataclass(frozen=True)
class Choice:
    """Chosen frames, and how they were chosen."""

    captions: tuple[Caption, ...]
    """The captions of the chosen frames."""

    model: ChatModel | Embedder | None
    """The model that was asked last; None if there was nothing to choose from."""

    replies: tuple[Completion, ...] = ()
    prompt: str | None = None
    """Hash of the prompt template; None if no language model was asked."""

    notes: tuple[str | None, ...] = ()
    """What did not go as planned."""

    fallback: bool = False
    """Whether the frames are evenly spaced because the reply was unusable."""


def distinct_positions(captions: Sequence[object]) -> list[int]:
    """Return the positions of the captions to read: the middle one of each run of equal neighbours.

    VideoEspresso, section 3.2, drops a frame if its caption resembles the last one that was kept.
    """
    runs = [list(run) for _, run in groupby(range(len(captions)), key=lambda position: captions[position])]
    return [run[len(run) // 2] for run in runs]


async def select(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Add to `core_frames` from `captions`.

    Use evenly spaced frames, with a note, if the language model's reply is unusable.

    Each visual of a question about several has a core frame, as far as the budget allows: what is
    said about all of them cannot be judged from some. Frames that are core frames already are not
    offered again. Raises ModelError.
    """
    profile = context.session.profile
    budget = state.limit or profile.core_frames
    choice = await choose(
        state.question.text,
        state.question.options or (),
        state.captions,
        context.session,
        by=profile.select_by,
        budget=budget,
        taken=[core.frame for core in state.core_frames],
        names=visual_names([visual.kind for visual in state.visuals]),
    )
    chosen = _of_each_visual(choice.captions, state, budget)
    cores = [
        CoreFrame(frame=each.frame, why="evenly spaced" if choice.fallback else each.text or "named by the selector")
        for each in chosen
    ]
    return AnswerUpdate(
        core_frames=tuple(sorted([*state.core_frames, *cores], key=lambda core: (core.frame.visual, core.frame.index))),
        rounds=state.rounds + 1,
        trace=make_step(
            "select", choice.replies, model=choice.model, prompt=choice.prompt, frames=len(chosen), notes=choice.notes
        ),
    )


def _of_each_visual(chosen: Sequence[Caption], state: AnswerState, budget: int) -> list[Caption]:
    """Add the middle frame of each visual of which none is chosen, as far as the budget allows.

    It replaces the last frame of the visual that has most, where the budget is exhausted.
    """
    captions = list(chosen)
    for visual in range(len(state.visuals)):
        here = [each for each in state.captions if each.frame.visual == visual]
        counts = Counter(each.frame.visual for each in captions)
        if not here or counts[visual] or any(core.frame.visual == visual for core in state.core_frames):
            continue
        if len(captions) >= budget:
            most, count = counts.most_common(1)[0]
            if count == 1:
                break
            captions.remove([each for each in captions if each.frame.visual == most][-1])
        captions.append(here[len(here) // 2])
    return captions


async def choose(
    question: str,
    options: Sequence[str],
    captions: Sequence[Caption],
    session: Session,
    *,
    by: SelectBy,
    budget: int,
    taken: Sequence[Frame] = (),
    fill: bool = False,
    names: Sequence[str] = (),
) -> Choice:
    """Choose core frames among captioned frames.

    Args:
        question: the question.
        options: the options shown with it; empty for an open question. The language model does not
            read them.
        captions: captions of one or more visuals, each visual's in order of time.
        session: the session. It has a ranker unless `by` is "llm".
        by: the strategy.
        budget: most frames to choose.
        taken: frames that were chosen before; they are not chosen again.
        fill: choose as many frames as the budget allows, where `embedding` would choose those that
            are worth it.
        names: what prompts call each visual; empty if the captions are those of one video.

    Raises:
        ModelError: a model cannot be loaded or does not answer.
    """
    distinct = [captions[position] for position in distinct_positions([(each.frame.visual, each.text) for each in captions])]
    numbered = [
        NumberedCaption(number, each.frame.time, each.text, each, names[each.frame.visual] if names else "the video")
        for number, each in enumerate(distinct, 1)
    ]
    offered = [each for each in numbered if each.caption.frame not in taken]
    if not offered:
        return Choice((), None, notes=("no caption to choose from",))
    if not question.strip():
        even = [each.caption for each in evenly_spaced(offered, budget)]
        return Choice(tuple(even), None, notes=("the question is empty; evenly spaced frames are used",), fallback=True)
    if by == "llm":
        return await _ask(question, offered, session, budget, options, numbered)
    rankings = await _rank(question, options, numbered, session)
    notes = tuple(ranking.note for _, ranking in rankings)
    if by == "embedding":
        picked = _pick(rankings, offered, budget, taken, fill)
        return Choice(tuple(each.caption for each in picked), session.roles.ranker, notes=notes)
    shortlist = _pick(rankings, offered, max(SHORTLIST, budget), (), fill=True)
    choice = await _ask(question, sorted(shortlist, key=lambda each: each.number), session, budget)
    return Choice(choice.captions, choice.model, choice.replies, choice.prompt, (*notes, *choice.notes), choice.fallback)


async def _ask(
    question: str,
    offered: Sequence[NumberedCaption],
    session: Session,
    budget: int,
    options: Sequence[str] = (),
    every: Sequence[NumberedCaption] = (),
) -> Choice:
    """Ask the language model; `every` are all captions to rank if those offered do not fit."""
    selector = session.roles.selector

    async def fit(items: Sequence[NumberedCaption]):  # type: ignore[no-untyped-def]
        return await fit_prompt(
            "select", items, selector, listed_as="captions", style=session.profile.prompts, max_tokens=MAX_TOKENS,
            question=question, budget=budget,
        )  # fmt: skip

    shown, prompt, note = await fit(offered)
    if note and every and session.roles.ranker:
        rankings = await _rank(question, options, every, session)
        best, cut = _pick(rankings, offered, len(shown), (), fill=True), note
        while cut:  # the most relevant captions may be longer than those that fitted
            shown, prompt, cut = await fit(sorted(best, key=lambda each: each.number))
            best = best[:-1]
        note = f"{len(shown)} of {len(offered)} captions fit the context of {selector.name}; the most relevant ones are read"
    reply = await selector.chat(prompt.messages, schema=FrameChoice, max_tokens=MAX_TOKENS)
    by_number = {item.number: item for item in shown}
    numbers = dict.fromkeys(reply.parsed.frames) if isinstance(reply.parsed, FrameChoice) else {}
    chosen = [by_number[number] for number in numbers if number in by_number][:budget]
    fallback = None
    if not chosen:
        chosen = evenly_spaced(offered, budget)
        why = f"gave no frames: {reply.fault}" if reply.fault else f"named no sampled frame: {reply.text[:80]!r}"
        fallback = f"the selector {why}; evenly spaced frames are used"
    captions = tuple(each.caption for each in chosen)
    return Choice(captions, selector, (reply,), prompt.hash, (note, fallback), fallback=fallback is not None)


_Ranked = list[tuple[Sequence[NumberedCaption], Ranking]]
"""The captions of each visual with their ranking."""


async def _rank(question: str, options: Sequence[str], numbered: Sequence[NumberedCaption], session: Session) -> _Ranked:
    """Rank the captions of each visual."""
    visuals = [list(group) for _, group in groupby(numbered, key=lambda each: each.caption.frame.visual)]
    return [
        (group, await rank(question, options, [each.text for each in group], [each.time for each in group], session))
        for group in visuals
    ]


def _pick(
    rankings: _Ranked, offered: Sequence[NumberedCaption], budget: int, taken: Sequence[Frame], fill: bool
) -> list[NumberedCaption]:
    """Pick among the offered captions of all visuals together, the most relevant first.

    Each visual's are spread over it. A frame of one visual is picked before another's if it is more
    relevant; the number of frames follows from the best frame of all.
    """
    allowed = {each.number for each in offered}
    picked: list[tuple[float, NumberedCaption]] = []
    best = max(float(ranking.relevance.max()) for _, ranking in rankings)
    for group, ranking in rankings:
        relevance = np.where([each.number in allowed for each in group], ranking.relevance, -np.inf)
        times = [frame.time for frame in taken if frame.visual == group[0].caption.frame.visual]
        positions = pick(relevance, [each.time for each in group], budget, taken=times, same=ranking.same)
        least = -np.inf if fill else best - ranking.margin
        picked += [(float(relevance[at]), group[at]) for at in positions if relevance[at] >= least]
    picked.sort(key=lambda each: -each[0])
    chosen = [each for _, each in picked[:budget]]
    return chosen or list(evenly_spaced(offered, min(budget, 1)))
