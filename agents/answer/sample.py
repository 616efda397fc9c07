"""Sample the visuals: the frames that all later nodes may use.

The profile's sampling plan applies to `selector` and `all`, evenly spaced frames to `uniform` and
`classifier`, the caller's frames to `given`, and no frames to `blind`. All strategies but
`selector` and `classifier` have their core frames then.
"""

from __future__ import annotations

import asyncio

from agents.answer.context import AnswerContext
from agents.answer.domain import check_domain
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import make_step
from espresso import media
from espresso.cache import SamplingKey
from espresso.datasets.frames import split_count
from espresso.options import UNIFORM_FRAMES
from espresso.schema import CoreFrame, Frame


async def sample(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Fill `visuals`, `frames`, `warning` and, if the strategy needs no selector, `core_frames`.

    The reference answer and the ground truth are removed from the question here, before any model
    is asked.

    Raises:
        MediaError: a visual cannot be decoded.
        QuestionError: the profile's models do not know such visuals, and the state does not allow
            to ask anyway.
    """
    frames: list[Frame] = []
    notes: list[str | None] = []
    if state.strategy == "given":
        frames = sorted((core.frame for core in state.core_frames), key=lambda frame: (frame.visual, frame.index))
    elif state.captions:
        frames = [caption.frame for caption in state.captions]
    else:
        for visual, plan in await _plans(state, context):
            sampled, note = await sample_visual(visual, plan, context)
            frames += sampled
            notes.append(note and f"{context.visuals[visual].source}: {note}")
    sources = tuple(opened.source for opened in context.visuals)  # without credentials of URLs
    update = AnswerUpdate(
        question=state.question.without_truth().model_copy(update={"visuals": sources}),
        warning=await check_domain(frames, context, allow=state.allow_out_of_domain),
        visuals=tuple(opened.visual for opened in context.visuals),
        frames=tuple(frames),
        trace=make_step("sample", frames=len(frames), notes=notes),
    )
    if state.strategy in ("uniform", "all"):
        update["core_frames"] = tuple(CoreFrame(frame=frame, why=state.strategy) for frame in frames)
    return update


async def _plans(state: AnswerState, context: AnswerContext) -> list[tuple[int, media.Plan]]:
    """Return (position, plan) of each visual that is sampled.

    `uniform` divides its frames among the visuals, the first taking the rest; `classifier` takes as
    many of each as its model reads.
    """
    visuals = range(len(context.visuals))
    if state.strategy == "blind":
        return []
    if state.strategy == "uniform":
        counts = split_count(state.limit or UNIFORM_FRAMES, len(context.visuals))
        return [(position, media.uniform(count)) for position, count in enumerate(counts) if count]
    if state.strategy == "classifier" and context.session.roles.classifier:
        plan: media.Plan = media.uniform((await context.session.roles.classifier.load()).frames)
    else:
        plan = media.parse_plan(context.session.profile.sampling)
    return [(position, plan) for position in visuals]


async def sample_visual(visual: int, plan: media.Plan, context: AnswerContext) -> tuple[list[Frame], str | None]:
    """Sample one visual by a plan: its frames, and a note on its file.

    A cached sampling decodes nothing.

    Args:
        visual: position of the visual in the context.
        plan: the sampling plan.
        context: the opened context.
    """
    opened, size, cache = context.visuals[visual], context.session.profile.frame_size, context.session.cache
    key = SamplingKey(opened.visual.digest, str(plan), size)
    if cached := await asyncio.to_thread(cache.sampling, key) if cache else None:
        return [Frame(visual=visual, index=index, time=time) for index, time in cached["frames"]], cached["note"]
    sampled = await media.in_background(media.sample, opened, plan, size=size)
    frames = [frame.model_copy(update={"visual": visual}) for frame in sampled.frames]
    context.keep(frames, sampled.pixels)
    if cache:
        await asyncio.to_thread(
            cache.put_sampling, key, {"frames": [(frame.index, frame.time) for frame in frames], "note": sampled.note}
        )
    return frames, sampled.note
