"""Check that the visuals are of a kind that the profile's models know.

The models of `tiny` know only the procedural world and answer questions about any other clip at
random, often with high confidence. The frames decide, not the comment of the file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from agents.answer.context import AnswerContext
from espresso import media, profiles, world
from espresso.errors import QuestionError
from espresso.media.plan import evenly_spaced
from espresso.schema import Frame

CHECKED_FRAMES = 4
"""Frames of each visual that are checked.

They are among the sampled frames, so they are decoded for the check only if the sampling was
cached.
"""


async def check_domain(frames: Sequence[Frame], context: AnswerContext, *, allow: bool, what: str = "answer") -> str | None:
    """Return a warning if the frames show what the profile's models do not know, else None.

    Args:
        frames: the frames that the models may see; without frames nothing is checked.
        context: the opened context.
        allow: whether such visuals are allowed.
        what: what is unreliable about them, for the warning.

    Raises:
        QuestionError: such visuals are not allowed.
        MediaError: a frame cannot be decoded.
    """
    profile = context.session.profile
    if not profile.world_only:
        return None
    sources = []
    for position, opened in enumerate(context.visuals):
        checked = evenly_spaced([frame for frame in frames if frame.visual == position], CHECKED_FRAMES)
        pictures = [shown.picture.pixels for shown in await context.show(checked)]
        if pictures and not await media.in_background(world.is_world, np.stack(pictures)):
            sources.append(opened.source)
    if not sources:
        return None
    other = await asyncio.to_thread(profiles.load, "laptop")
    reason = f"{', '.join(sources)}: profile {profile.name} only understands clips of `espresso world`"
    instead = f"use --profile {other.name} (download: {other.download})"
    if allow:
        return f"{reason}, so this {what} is a guess; {instead} for a reliable one"
    raise QuestionError(f"{reason}; {instead}, or --allow-out-of-domain to ask anyway.")
