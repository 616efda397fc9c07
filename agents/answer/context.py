"""What the nodes of one run work with and the state does not hold: models, opened visuals, their pixels, the caption cache.

LangGraph hands it to each node as the runtime context, so that a state can be written down as JSON at any node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from espresso import media, profiles
from espresso.cache import Cache
from espresso.media import Media
from espresso.models import Picture, Roles, connect
from espresso.profiles import Profile
from espresso.schema import Frame


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame as a prompt shows it: its picture, and its time in seconds."""

    frame: Frame
    picture: Picture

    @property
    def time(self) -> float:
        """Seconds from the start of the visual."""
        return self.frame.time


@lru_cache(maxsize=1)
def connected(profile: str) -> Roles:
    """Connect to the models of a profile, given as JSON, and keep them: the next question finds them loaded."""
    return connect(Profile.model_validate_json(profile))


@dataclass(init=False)
class Run:
    """The means of one run. LangGraph's own tools see `profile` alone; the rest is made from it where it is not given.

    profile: a profile's name or file. roles: the models. clips: the question's visuals, in its order; opened by their paths
    where none are given. cache: where captions are kept; None keeps none.
    """

    profile: str

    def __init__(
        self,
        profile: str | Profile = "tiny",
        *,
        roles: Roles | None = None,
        clips: Sequence[Media] = (),
        cache: Cache | None = None,
    ) -> None:
        self.settings: Profile = profile if isinstance(profile, Profile) else profiles.load(profile)
        self.profile = self.settings.name
        self.roles: Roles = roles or connected(self.settings.model_dump_json())
        self.clips = tuple(clips)
        self.cache = cache
        self._pictures: dict[Frame, Picture] = {}

    async def open(self, sources: Sequence[str]) -> None:
        """Open the visuals unless they are open. Raises MediaError."""
        if not self.clips:
            self.clips = tuple(await media.in_background(lambda: [media.open(source) for source in sources]))

    def keep(self, frames: Sequence[Frame], pixels: np.ndarray) -> None:
        """Keep pixels, (n, height, width, 3) uint8 RGB, that sampling has decoded at the profile's frame size."""
        self._pictures.update(zip(frames, map(Picture, pixels), strict=True))

    async def show(self, frames: Sequence[Frame]) -> list[Shown]:
        """Give the frames their pixels, at the profile's frame size; what is not decoded yet is now. Raises MediaError."""
        for position, clip in enumerate(self.clips):
            missing = [frame for frame in frames if frame.visual == position and frame not in self._pictures]
            if missing:
                indices = [frame.index for frame in missing]
                self.keep(missing, await media.in_background(clip.decode, indices, size=self.settings.frame_size))
        return [Shown(frame, self._pictures[frame]) for frame in frames]
