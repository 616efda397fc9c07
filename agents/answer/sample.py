"""Sample the visuals: the frames that everything after may look at.

Each strategy has its plan: the profile's for `selector` and `all`, evenly spread frames for `uniform`, the caller's frames for
`given`, none for `blind`. All but `selector` have their core frames with that.
"""

from __future__ import annotations

from collections.abc import Iterator

from agents.answer.context import Run
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import step
from espresso import media, profiles, world
from espresso.cache import SamplingKey
from espresso.schema import CoreFrame, Frame

UNIFORM_FRAMES = 16


async def sample(state: AnswerState, run: Run) -> AnswerUpdate:
    """Fill `visuals`, `frames` and, where the strategy needs no selector, `core_frames`. Raises MediaError.

    Whatever is known about the answer leaves the state here, before any model is asked.
    """
    frames: list[Frame] = []
    notes: list[str | None] = [_stranger(run)]
    if state.strategy == "given":
        frames = sorted((core.frame for core in state.core_frames), key=lambda frame: (frame.visual, frame.index))
    else:
        for visual, plan in _plans(state, run):
            found, note = await _sampled(visual, plan, run)
            frames += found
            notes.append(note and f"{run.clips[visual].source}: {note}")
    update = AnswerUpdate(
        question=state.question.asked(),
        visuals=tuple(clip.visual for clip in run.clips),
        frames=tuple(frames),
        trace=step("sample", frames=len(frames), notes=notes),
    )
    if state.strategy in ("uniform", "all"):
        update["core_frames"] = tuple(CoreFrame(frame=frame, why=state.strategy) for frame in frames)
    return update


def _plans(state: AnswerState, run: Run) -> Iterator[tuple[int, media.Plan]]:
    """Plan each visual, by its position. Several visuals share the frames of `uniform`, the first taking what is over."""
    if state.strategy == "uniform":
        share, over = divmod(state.limit or UNIFORM_FRAMES, len(run.clips))
        counts = [share + (position < over) for position in range(len(run.clips))]
        yield from ((position, media.uniform(count)) for position, count in enumerate(counts) if count)
    elif state.strategy != "blind":
        yield from enumerate([media.parse_plan(run.settings.sampling)] * len(run.clips))


async def _sampled(visual: int, plan: media.Plan, run: Run) -> tuple[list[Frame], str | None]:
    """Sample one visual: its frames, and a note on its file. A sampling that is in the cache costs no decoding here."""
    clip, size = run.clips[visual], run.settings.frame_size
    key = SamplingKey(clip.visual.digest, str(plan), size)
    if known := run.cache and run.cache.sampling(key):
        return [Frame(visual=visual, index=index, time=time) for index, time in known["frames"]], known["note"]
    sampled = await media.in_background(media.sample, clip, plan, size=size)
    frames = [frame.model_copy(update={"visual": visual}) for frame in sampled.frames]
    run.keep(frames, sampled.pixels)
    if run.cache:
        run.cache.keep_sampling(key, {"frames": [(frame.index, frame.time) for frame in frames], "note": sampled.note})
    return frames, sampled.note


def _stranger(run: Run) -> str | None:
    """Say so when the tiny models, which know nothing but the procedural world, are shown something else."""
    if run.settings.prompts != "tiny" or all(clip.comment == world.COMMENT for clip in run.clips):
        return None
    other = profiles.load("laptop")
    return (
        "the tiny models know only the clips of espresso's own world and cannot know this one; "
        f"--profile {other.name} can (download: {other.download})"
    )
