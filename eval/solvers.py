"""Solvers: from a question to an answer, with different ways to find core frames.

A solver gets the question with its ground truth. Only the oracles and `ranked_frames` read it, to
measure what a part of the pipeline loses; `agents.ask.answer` never does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import numpy as np

from agents.answer.context import AnswerContext
from agents.answer.sample import sample_visual
from agents.ask import answer
from agents.session import Session
from espresso import media
from espresso.datasets import world
from espresso.errors import DataError
from espresso.media import Media
from espresso.options import UNIFORM_FRAMES, EvalStrategy, Strategy
from espresso.schema import Answer, Caption, Frame, Question
from eval.protocols import question_rng
from eval.selection.ranked import rank_frames

Solver = Callable[[Question, Session], Awaitable[Answer]]
"""Answers a question. The question has its ground truth, its options in the order to show."""


def make_solver(
    strategy: EvalStrategy, *, frames: int | None = None, given_evidence: bool = False, written: bool = False, seed: int = 0
) -> Solver:
    """Return the solver of a strategy.

    Args:
        strategy: how core frames are found, see `espresso.options.EvalStrategy`.
        frames: frames of `uniform` and `random` (16 if None), or the most that the selector may
            choose.
        given_evidence: whether to answer from the evidence in the dataset.
        written: whether options are listed and the reply is free text.
        seed: seed of random frames.
    """
    match strategy:
        case "random":
            return partial(
                random_frames, frames=frames or UNIFORM_FRAMES, seed=seed, given_evidence=given_evidence, written=written
            )
        case "ranked":
            return partial(ranked_frames, given_evidence=given_evidence, written=written)
        case "oracle":
            return partial(oracle_frames, given_evidence=given_evidence, written=written)
        case "oracle-evidence":
            return partial(oracle_frames, given_evidence=True, written=written)
        case "oracle-captions":
            return partial(oracle_captions, frames=frames, given_evidence=given_evidence, written=written)
        case _:
            return partial(run_graph, strategy=strategy, frames=frames, given_evidence=given_evidence, written=written)


async def run_graph(
    question: Question, session: Session, *, strategy: Strategy, frames: int | None, given_evidence: bool, written: bool = False
) -> Answer:
    """Answer by a strategy of the answer graph."""
    return await answer(
        question, session, strategy=strategy, frames=frames, evidence=_evidence(question, given_evidence), written=written
    )


async def random_frames(
    question: Question, session: Session, *, frames: int, seed: int, given_evidence: bool, written: bool = False
) -> Answer:
    """Answer from frames drawn at random, the same for a question each time."""
    visuals = await _opened(question)
    positions = [(visual, index) for visual, opened in enumerate(visuals) for index in range(len(opened.times))]
    drawn = question_rng(question, seed).choice(len(positions), min(frames, len(positions)), replace=False)
    chosen = [_frame(visuals, *positions[position]) for position in sorted(drawn.tolist())]
    return await answer(
        question,
        session,
        strategy="given",
        core_frames=chosen,
        evidence=_evidence(question, given_evidence),
        written=written,
        visuals=visuals,
    )


async def ranked_frames(question: Question, session: Session, *, given_evidence: bool, written: bool = False) -> Answer:
    """Answer from the frames that make the reference most probable (`eval.selection.ranked`)."""
    visuals, evidence = await _opened(question), _evidence(question, given_evidence)
    captions = (await answer(question, session, evidence=evidence, visuals=visuals)).captions
    context = AnswerContext(session=session, visuals=visuals)
    frames = await rank_frames(question, question.answer or "", captions, context)
    ranked = await answer(
        question, session, strategy="given", core_frames=frames, evidence=evidence, written=written, visuals=visuals
    )
    return ranked.model_copy(update={"captions": captions})


async def oracle_frames(question: Question, session: Session, *, given_evidence: bool, written: bool = False) -> Answer:
    """Answer from the true core frames: for each true span the frame nearest to its middle.

    Raises:
        DataError: the question's core frames are not known.
    """
    if question.truth is None or not question.truth.spans:
        raise DataError(f"question {question.id}: its core frames are not known. Use a strategy other than oracle.")
    visuals = await _opened(question)
    frames = []
    for span in question.truth.spans:
        index = int(np.abs(visuals[span.visual].times - (span.start + span.end) / 2).argmin())
        frames.append(_frame(visuals, span.visual, index))
    return await answer(
        question,
        session,
        strategy="given",
        core_frames=frames,
        evidence=_evidence(question, given_evidence),
        written=written,
        visuals=visuals,
    )


async def oracle_captions(
    question: Question, session: Session, *, frames: int | None, given_evidence: bool, written: bool = False
) -> Answer:
    """Answer with the selector reading true captions of the sampled frames.

    For the procedural world only.
    """
    visuals = await _opened(question)
    context = AnswerContext(session=session, visuals=visuals)
    plan = media.parse_plan(session.profile.sampling)
    captions = [
        Caption(frame=frame, text=world.true_caption(question.visuals[visual], frame.time))
        for visual in range(len(visuals))
        for frame in (await sample_visual(visual, plan, context))[0]
    ]
    return await answer(
        question,
        session,
        frames=frames,
        captions=captions,
        evidence=_evidence(question, given_evidence),
        written=written,
        visuals=visuals,
    )


async def _opened(question: Question) -> list[Media]:
    return [await media.in_background(media.open, visual) for visual in question.visuals]


def _frame(visuals: Sequence[Media], visual: int, index: int) -> Frame:
    return Frame(visual=visual, index=index, time=float(visuals[visual].times[index]))


def _evidence(question: Question, given: bool) -> str:
    """Return the evidence in the dataset if it is to be used, else "".

    Raises DataError if there is none.
    """
    if not given:
        return ""
    evidence = question.truth.evidence.strip() if question.truth else ""
    if not evidence:
        raise DataError(f"question {question.id}: the dataset has no evidence for it. Run without given evidence.")
    return evidence
