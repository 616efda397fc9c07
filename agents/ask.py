"""Ask a question: `espresso.ask`, `espresso.aask`, and `answer`, the core of every entry point.

    options = ["the red circle", "the green star"]
    answer = espresso.ask("clip.mp4", "What hits the blue square?", options=options)

A question that cannot be asked is refused before a model is loaded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL.Image import Image

from agents.answer.caption import FramesCaptioned
from agents.answer.context import AnswerContext
from agents.answer.graph import NodeStarted, graph
from agents.answer.state import AnswerState
from agents.session import Session, shared_session
from espresso import media
from espresso.errors import ProfileError, QuestionError
from espresso.media import Media
from espresso.models import flops
from espresso.options import Strategy
from espresso.profiles import Profile
from espresso.schema import Answer, Caption, CoreFrame, Evidence, Frame, Question, Step, Usage

VisualInput = str | Path | bytes | np.ndarray | Image | Media
"""An image or video: a path, a URL, bytes, pixels, a PIL image or an opened `Media`."""
MAX_CHARACTERS = 4000
MAX_OPTIONS = 26
BEYOND_THE_END_S = 1.0
"""How far a given core frame may lie outside its visual before it is an error, in seconds."""


async def aask(
    visuals: VisualInput | Sequence[VisualInput],
    text: str,
    *,
    options: Sequence[str] | None = None,
    profile: str | Path | Profile | None = None,
    session: Session | None = None,
    strategy: Strategy | None = None,
    frames: int | None = None,
    core_frames: Iterable[float | Frame] | None = None,
    evidence: str = "",
    reference: str | None = None,
    allow_urls: bool = False,
    allow_out_of_domain: bool = False,
    boxes: bool = False,
    on_progress: Callable[[NodeStarted], None] | None = None,
    on_state: Callable[[AnswerState], None] | None = None,
    on_captions: Callable[[tuple[Caption, ...]], None] | None = None,
) -> Answer:
    """Ask a question about one or more images and videos.

    Args:
        visuals: a path, URL (with `allow_urls`), bytes, array, PIL image or opened `Media`, or a
            list of them.
        text: the question.
        options: two or more different texts to choose from, or None for a free answer.
        profile: a profile, its name or the path of its file. None is ESPRESSO_PROFILE, else `tiny`.
            Its models stay loaded for the next question. Ignored if a session is given.
        session: the profile, models and cache to use.
        strategy: how core frames are found, see `espresso.options.Strategy`. None is the profile's
            own.
        frames: the most core frames that the selector may choose, or the number of frames of
            `uniform`.
        core_frames: for the strategy `given`: `Frame`s, or times in seconds of the first visual.
        evidence: what to answer from, instead of evidence that the reasoner writes.
        reference: the correct answer; the profile's judge scores the answer against it
            (`Answer.verdict`).
        allow_urls: whether visuals are fetched from http and https URLs.
        allow_out_of_domain: whether to answer about visuals that the profile's models do not know.
            The answer has a warning and no confidence then; otherwise it is a QuestionError.
        boxes: whether to locate the things that the evidence names in the core frames, with the
            profile's detector (`Evidence.key_items`).
        on_progress: called when a node of the graph starts.
        on_state: called with the state of the graph after each node.
        on_captions: called with captions as they are made; those from the cache come at once.

    Raises:
        QuestionError: the question cannot be asked.
        MediaError: a visual cannot be opened or decoded.
        ProfileError: the profile does not exist or is invalid.
        ModelError: a model cannot be loaded, or does not answer.
    """
    options = None if options is None else tuple(options)
    if options is not None:
        _check_options(options)
    sources = list(visuals) if isinstance(visuals, Sequence) and not isinstance(visuals, str | bytes) else [visuals]
    names = tuple(source if isinstance(source, str) else type(source).__name__ for source in sources)
    question = Question(id="ask", visuals=names, text=text.strip(), options=options)
    session = session or shared_session(profile)
    strategy = strategy or session.profile.strategy
    _check(question, strategy, frames, reference)
    opened = [await media.in_background(_open, source, allow_urls) for source in sources]
    question = question.model_copy(update={"visuals": tuple(each.visual.source for each in opened)})
    return await answer(
        question,
        session,
        strategy=strategy,
        frames=frames,
        core_frames=core_frames,
        evidence=evidence,
        reference=reference,
        visuals=opened,
        allow_out_of_domain=allow_out_of_domain,
        boxes=boxes,
        on_progress=on_progress,
        on_state=on_state,
        on_captions=on_captions,
    )


def ask(
    visuals: VisualInput | Sequence[VisualInput],
    text: str,
    *,
    options: Sequence[str] | None = None,
    profile: str | Path | Profile | None = None,
    session: Session | None = None,
    strategy: Strategy | None = None,
    frames: int | None = None,
    core_frames: Iterable[float | Frame] | None = None,
    evidence: str = "",
    reference: str | None = None,
    allow_urls: bool = False,
    allow_out_of_domain: bool = False,
    boxes: bool = False,
    on_progress: Callable[[NodeStarted], None] | None = None,
    on_state: Callable[[AnswerState], None] | None = None,
    on_captions: Callable[[tuple[Caption, ...]], None] | None = None,
) -> Answer:
    """Ask a question and wait for the answer; see `aask` for the arguments."""
    session = session or shared_session(profile)
    return session.run(
        aask(
            visuals,
            text,
            options=options,
            session=session,
            strategy=strategy,
            frames=frames,
            core_frames=core_frames,
            evidence=evidence,
            reference=reference,
            allow_urls=allow_urls,
            allow_out_of_domain=allow_out_of_domain,
            boxes=boxes,
            on_progress=on_progress,
            on_state=on_state,
            on_captions=on_captions,
        )
    )


async def answer(
    question: Question,
    session: Session,
    *,
    strategy: Strategy | None = None,
    frames: int | None = None,
    core_frames: Iterable[float | Frame] | None = None,
    captions: Sequence[Caption] = (),
    evidence: str = "",
    reference: str | None = None,
    written: bool = False,
    visuals: Sequence[Media] = (),
    allow_urls: bool = False,
    allow_out_of_domain: bool = False,
    boxes: bool = False,
    on_progress: Callable[[NodeStarted], None] | None = None,
    on_state: Callable[[AnswerState], None] | None = None,
    on_captions: Callable[[tuple[Caption, ...]], None] | None = None,
) -> Answer:
    """Answer one question with a session: the core of `ask`, of batches and of benchmark runs.

    The question's own reference answer and ground truth are never read.

    Args:
        question: the question; its visuals are paths or URLs.
        session: the profile, models and cache to use.
        strategy: how core frames are found, see `espresso.options.Strategy`. None is the profile's
            own.
        frames: the most core frames that the selector may choose, or the number of frames of
            `uniform`.
        core_frames: for the strategy `given`: `Frame`s, or times in seconds of the first visual.
        captions: captions for the selector to read, instead of sampling and captioning frames.
        evidence: what to answer from, instead of evidence that the reasoner writes.
        reference: the correct answer, for the judge.
        written: whether to list the options for the reasoner and take its free reply, instead of a
            choice by log-probability. No other node sees the options.
        visuals: the question's visuals, opened; without them they are opened by their paths.
        allow_urls: whether visuals are fetched from http and https URLs.
        allow_out_of_domain: whether to answer about visuals that the profile's models do not know.
            The answer has a warning and no confidence then; otherwise it is a QuestionError.
        boxes: whether to locate the things that the evidence names in the core frames, with the
            profile's detector (`Evidence.key_items`).
        on_progress: called when a node of the graph starts.
        on_state: called with the state of the graph after each node.
        on_captions: called with captions as they are made; those from the cache come at once.

    Raises:
        QuestionError: the question cannot be asked.
        MediaError: a visual cannot be opened or decoded.
        ProfileError: a reference is given and the profile has no judge, or boxes are wanted and it
            has no detector.
        ModelError: a model cannot be loaded, or does not answer.
    """
    strategy = strategy or session.profile.strategy
    _check(question, strategy, frames, reference)
    if strategy == "classifier" and session.roles.classifier is None:
        raise ProfileError(
            f"profile {session.profile.name} has no classifier. Add a [classifier] to it, or use another strategy or profile."
        )
    if reference is not None and session.roles.judge is None:
        raise ProfileError(
            f"profile {session.profile.name} has no judge. Leave the reference out, or add a [judge] to the profile."
        )
    if boxes and session.roles.detector is None:
        raise ProfileError(
            f"profile {session.profile.name} has no detector. Ask without boxes, or add a [detector] to the profile."
        )
    if strategy != "classifier":
        session.roles.preload(selects=strategy == "selector" and session.profile.select_by != "embedding")
    context = AnswerContext(session=session, visuals=visuals, allow_urls=allow_urls)
    await context.open(question.visuals)
    state = AnswerState(
        question=question.without_truth(),
        reference=reference,
        strategy=strategy,
        limit=frames,
        captions=tuple(captions),
        core_frames=_given(core_frames, strategy, context.visuals),
        evidence=evidence.strip(),
        written=written,
        allow_out_of_domain=allow_out_of_domain,
        boxes=boxes,
    )
    final: dict[str, Any] = {}
    events: AsyncIterator[Any] = graph.astream(state, context=context, stream_mode=["custom", "values"])
    async for mode, event in events:
        if mode == "values":
            final = event
            if on_state:
                on_state(AnswerState(**event))
        elif isinstance(event, FramesCaptioned):
            if on_captions:
                on_captions(event.captions)
        elif on_progress:
            on_progress(event)
    return _answer(AnswerState(**final), session.profile)


def _answer(state: AnswerState, profile: Profile) -> Answer:
    """Make an answer of the graph's last state."""
    return Answer(
        question=state.question,
        text=state.text,
        choice=state.choice,
        confidence=state.confidence,
        warning=state.warning,
        options_probability=state.options_probability,
        evidence=Evidence(text=state.evidence, core_frames=state.core_frames, key_items=state.key_items),
        visuals=state.visuals,
        frames=state.frames,
        captions=state.captions,
        core_frames=state.core_frames,
        strategy=state.strategy,
        profile=profile.name,
        verdict=state.verdict,
        trace=state.trace,
        usage=_usage(state.trace, profile),
    )


def _usage(trace: Sequence[Step], profile: Profile) -> Usage:
    seconds: dict[str, float] = {}
    for step in trace:
        seconds[step.node] = seconds.get(step.node, 0.0) + step.seconds
    return Usage(
        tokens_in=sum(step.tokens_in for step in trace),
        tokens_out=sum(step.tokens_out for step in trace),
        tokens_visual=sum(step.tokens_visual for step in trace),
        tflops=flops.tflops(trace, profile),
        tflops_saved=flops.tflops(trace, profile, saved=True),
        seconds=seconds,
    )


def _open(source: VisualInput, allow_urls: bool) -> Media:
    return source if isinstance(source, Media) else media.open(source, allow_urls=allow_urls)


def _check(question: Question, strategy: str, frames: int | None, reference: str | None) -> None:
    """Raise QuestionError for a question that cannot be asked."""
    if not question.visuals:
        raise QuestionError("no visual is given. Give at least one image or video.")
    if not question.text.strip():
        raise QuestionError("the question is empty. Ask something.")
    if reference is not None and not reference.strip():
        raise QuestionError("the reference is empty. Give the correct answer, or leave it out.")
    text = "".join((question.text, *(question.options or ()), reference or ""))
    if len(text) > MAX_CHARACTERS:
        raise QuestionError(
            f"question, options and reference are {len(text)} characters long. Shorten them to {MAX_CHARACTERS} characters."
        )
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise QuestionError("the question, an option or the reference is not valid text. Write it in UTF-8.")
    if strategy not in get_args(Strategy):
        raise QuestionError(f"unknown strategy {strategy!r}. Choose one of {', '.join(get_args(Strategy))}.")
    if frames is not None and frames < 1:
        raise QuestionError(f"{frames} frames are too few. Give 1 or more, or use the strategy 'blind'.")


def _check_options(options: tuple[str, ...]) -> None:
    """Raise QuestionError for options that nobody can choose from."""
    if len(options) < 2:
        count = "no options are" if not options else "only one option is"
        raise QuestionError(f"{count} given. Give two or more, or leave options out for a free answer.")
    if len(options) > MAX_OPTIONS:
        raise QuestionError(f"{len(options)} options are given. Give at most {MAX_OPTIONS}.")
    if not all(option.strip() for option in options):
        raise QuestionError("an option is empty. Give each option a text.")
    if len(set(options)) < len(options):
        twice = next(option for option in options if options.count(option) > 1)
        raise QuestionError(f"the option {twice!r} is given twice. Give different options.")


def _given(core_frames: Iterable[float | Frame] | None, strategy: str, visuals: Sequence[Media]) -> tuple[CoreFrame, ...]:
    """Resolve the caller's times to the nearest frames of the first visual.

    Each frame once, in time order.
    """
    if (core_frames is not None) != (strategy == "given"):
        raise QuestionError("core_frames and the strategy 'given' go together. Give both or neither.")
    frames = {given if isinstance(given, Frame) else _nearest(given, visuals[0]) for given in core_frames or ()}
    if strategy == "given" and not frames:
        raise QuestionError("core_frames is empty. Give at least one time, or use the strategy 'blind'.")
    if beyond := [frame for frame in frames if not 0 <= frame.visual < len(visuals)]:
        raise QuestionError(
            f"a core frame names visual {beyond[0].visual}, but there are {len(visuals)}, counted from 0. "
            "Give the position of a visual."
        )
    bounded = sorted(frames, key=lambda frame: (frame.visual, frame.index))
    return tuple(CoreFrame(frame=frame, why="given") for frame in bounded)


def _nearest(time: float, visual: Media) -> Frame:
    """Return the frame that is shown nearest to a time in seconds."""
    index = int(np.abs(visual.times - time).argmin())
    if not -BEYOND_THE_END_S <= time <= visual.times[-1] + BEYOND_THE_END_S:
        raise QuestionError(
            f"{visual.visual.source}: a core frame is given at {time:g} s, but the last frame is at {visual.times[-1]:.2f} s. "
            "Give times within the visual."
        )
    return Frame(index=index, time=float(visual.times[index]))
