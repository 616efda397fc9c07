"""The front door of the answer graph: `espresso.ask` and `espresso.aask`.

    answer = espresso.ask("clip.mp4", "What hits the blue square?", options=["the red circle", "the green star"])

Everything a caller can get wrong is found here, before a model is loaded.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL.Image import Image

from agents.answer.context import Run
from agents.answer.graph import Progress, graph
from agents.answer.state import AnswerState, Strategy
from espresso import media, profiles
from espresso.cache import Cache
from espresso.errors import ProfileError, QuestionError
from espresso.media import Media
from espresso.models import Roles
from espresso.models import flops as cost
from espresso.profiles import Profile
from espresso.schema import Answer, CoreFrame, Evidence, Frame, Question, Step, Usage

Source = str | Path | bytes | np.ndarray | Image | Media
MAX_CHARACTERS = 4000
MAX_OPTIONS = 26
BEYOND_THE_END_S = 1.0


async def aask(
    visuals: Source | Sequence[Source],
    text: str,
    *,
    options: Sequence[str] | None = None,
    profile: str | Path | Profile | None = None,
    strategy: Strategy = "selector",
    frames: int | None = None,
    core_frames: Iterable[float | Frame] | None = None,
    evidence: str = "",
    reference: str | None = None,
    roles: Roles | None = None,
    cache: bool | Path | Cache = True,
    allow_urls: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Answer:
    """Ask a question about one or more images and videos.

    visuals: a path, URL (with `allow_urls`), bytes, array, PIL image or opened `Media`, or a list of them. options: two or more
    different texts to choose from, or None for a free answer. profile: a name or file; None is ESPRESSO_PROFILE, else `tiny`. Its
    models are loaded once and kept for the next question. strategy: how core frames are found, see `agents.answer.state.Strategy`.
    frames: the most core frames the selector may choose, or how many frames `uniform` takes. core_frames: for `given`, times in
    seconds of the first visual, or `Frame`s. evidence: what to answer from beside the frames, in place of the reasoner's own.
    reference: the right answer, beside which the profile's judge scores the one that is given (`Answer.verdict`).
    roles: connected models to use in place of the profile's. cache: whether captions are kept between questions, or where.
    on_progress: called as each node of the graph begins.

    Raises QuestionError for a question that cannot be asked, MediaError, ProfileError or ModelError: one sentence each.
    """
    options = None if options is None else tuple(options)
    _check(text, options, strategy, frames, reference)
    settings = profile if isinstance(profile, Profile) else profiles.load(profile or os.environ.get("ESPRESSO_PROFILE") or "tiny")
    if reference is not None and not (roles.judge if roles else settings.judge):
        raise ProfileError(f"profile {settings.name}: it has no judge. Leave the reference out, or add a [judge] to the profile.")
    sources = list(visuals) if isinstance(visuals, Sequence) and not isinstance(visuals, str | bytes) else [visuals]
    if not sources:
        raise QuestionError("there is nothing to look at. Give at least one image or video.")
    clips = [await media.in_background(_open, source, allow_urls) for source in sources]
    question = Question(id="ask", visuals=tuple(clip.visual.source for clip in clips), text=text.strip(), options=options)
    given = _given(core_frames, strategy, clips)
    state = AnswerState(
        question=question,
        reference=reference,
        strategy=strategy,
        limit=frames,
        core_frames=given,
        evidence=evidence.strip(),
    )
    store = cache if isinstance(cache, Cache) else None if cache is False else Cache(None if cache is True else cache)
    run = Run(settings, roles=roles, clips=clips, cache=store)
    try:
        return await _answer(state, run, on_progress)
    finally:
        if store and store is not cache:
            store.close()


def ask(visuals: Source | Sequence[Source], text: str, **settings: Any) -> Answer:
    """`aask` for code that is not asynchronous; works in a notebook too. Takes and raises the same."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(aask(visuals, text, **settings))
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, aask(visuals, text, **settings)).result()


async def _answer(state: AnswerState, run: Run, on_progress: Callable[[Progress], None] | None) -> Answer:
    """Run the graph and gather its last state into an answer."""
    final: dict[str, Any] = {}
    events: AsyncIterator[Any] = graph.astream(state, context=run, stream_mode=["custom", "values"])
    async for mode, event in events:
        if mode == "values":
            final = event
        elif on_progress:
            on_progress(event)
    done = AnswerState(**final)
    return Answer(
        question=done.question,
        text=done.text,
        choice=done.choice,
        confidence=done.confidence,
        options_probability=done.options_probability,
        evidence=Evidence(text=done.evidence, core_frames=done.core_frames),
        visuals=done.visuals,
        frames=done.frames,
        captions=done.captions,
        core_frames=done.core_frames,
        strategy=done.strategy,
        profile=run.profile,
        verdict=done.verdict,
        trace=done.trace,
        usage=_usage(done.trace, run.settings),
    )


def _usage(trace: Sequence[Step], profile: Profile) -> Usage:
    seconds: dict[str, float] = {}
    for step in trace:
        seconds[step.node] = seconds.get(step.node, 0.0) + step.seconds
    return Usage(
        tokens_in=sum(step.tokens_in for step in trace),
        tokens_out=sum(step.tokens_out for step in trace),
        tokens_visual=sum(step.tokens_visual for step in trace),
        tflops=cost.tflops(trace, profile),
        tflops_saved=cost.tflops(trace, profile, saved=True),
        seconds=seconds,
    )


def _open(source: Source, allow_urls: bool) -> Media:
    return source if isinstance(source, Media) else media.open(source, allow_urls=allow_urls)


def _check(text: str, options: tuple[str, ...] | None, strategy: str, frames: int | None, reference: str | None) -> None:
    """Raise QuestionError for a question that cannot be asked."""
    if not text.strip():
        raise QuestionError("the question is empty. Ask something.")
    if reference is not None and not reference.strip():
        raise QuestionError("the reference is empty. Give the right answer, or leave it out.")
    given = "".join((text, *(options or ()), reference or ""))
    if len(given) > MAX_CHARACTERS:
        raise QuestionError(
            f"question, options and reference are {len(given)} characters long. Ask with at most {MAX_CHARACTERS} characters."
        )
    if any("\ud800" <= character <= "\udfff" for character in given):
        raise QuestionError("the question, an option or the reference holds bytes that are no text. Write it in UTF-8.")
    if options is not None:
        _check_options(options)
    if strategy not in get_args(Strategy):
        raise QuestionError(f"no strategy is called {strategy!r}. Choose one of {', '.join(get_args(Strategy))}.")
    if frames is not None and frames < 1:
        raise QuestionError(f"{frames} frames are too few to look at. Give 1 or more, or use the strategy 'blind'.")


def _check_options(options: tuple[str, ...]) -> None:
    if len(options) < 2:
        given = "no options are" if not options else "only one option is"
        raise QuestionError(f"{given} given. Give two or more, or leave options out for a free answer.")
    if len(options) > MAX_OPTIONS:
        raise QuestionError(f"{len(options)} options are given. Give at most {MAX_OPTIONS}.")
    if not all(option.strip() for option in options):
        raise QuestionError("an option is empty. Give each option a text.")
    if len(set(options)) < len(options):
        twice = next(option for option in options if options.count(option) > 1)
        raise QuestionError(f"the option {twice!r} is given twice. Give different options.")


def _given(core_frames: Iterable[float | Frame] | None, strategy: str, clips: Sequence[Media]) -> tuple[CoreFrame, ...]:
    """Resolve the caller's times to the nearest frames of the first visual; each frame once, in time order."""
    if (core_frames is not None) != (strategy == "given"):
        raise QuestionError("core_frames and the strategy 'given' go together. Give both or neither.")
    frames = {given if isinstance(given, Frame) else _nearest(given, clips[0]) for given in core_frames or ()}
    if strategy == "given" and not frames:
        raise QuestionError("core_frames is empty. Give at least one time, or use the strategy 'blind'.")
    if beyond := [frame for frame in frames if not 0 <= frame.visual < len(clips)]:
        found = f"a core frame is of visual {beyond[0].visual}, and there are {len(clips)}, counted from 0"
        raise QuestionError(f"{found}. Give the position of a visual.")
    in_order = sorted(frames, key=lambda frame: (frame.visual, frame.index))
    return tuple(CoreFrame(frame=frame, why="given") for frame in in_order)


def _nearest(time: float, clip: Media) -> Frame:
    """Find the frame shown nearest to a time in seconds."""
    index = int(np.abs(clip.times - time).argmin())
    if not -BEYOND_THE_END_S <= time <= clip.times[-1] + BEYOND_THE_END_S:
        raise QuestionError(
            f"{clip.visual.source}: a core frame is given at {time:g} s, and the last frame is at {clip.times[-1]:.2f} s. "
            "Give times within the visual."
        )
    return Frame(index=index, time=float(clip.times[index]))
