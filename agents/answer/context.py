"""The context of one question: the session, the opened visuals and their pixels.

LangGraph passes it to every node as the runtime context, so the state stays plain records that can
be saved as JSON at any node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.session import Session, shared_session
from espresso import media
from espresso.media import Media
from espresso.models import Picture
from espresso.schema import Frame, visual_names


@dataclass(frozen=True, eq=False)
class ShownFrame:
    """A frame as a prompt shows it."""

    frame: Frame
    picture: Picture

    name: str
    """What prompts call its visual: "the video" or "the first image"."""

    @property
    def time(self) -> float:
        """Seconds from the start of the visual."""
        return self.frame.time


@dataclass(init=False)
class AnswerContext:
    """The runtime context of the answer graph.

    Args:
        profile: name or file of the profile; all that LangGraph's own server passes. Ignored if a
            session is given. None is ESPRESSO_PROFILE, else `tiny`.
        session: the session to use instead of the shared one of the profile.
        visuals: the question's visuals, opened, in its order. Visuals that are not given are opened
            by their paths.
        allow_urls: whether visuals are fetched from http and https URLs.
    """

    profile: str | None = None

    def __init__(
        self,
        profile: str | None = None,
        *,
        session: Session | None = None,
        visuals: Sequence[Media] = (),
        allow_urls: bool = False,
    ) -> None:
        self.profile = session.profile.name if session else profile
        self.visuals = tuple(visuals)
        self._session = session
        self._allow_urls = allow_urls
        self._pictures: dict[Frame, Picture] = {}

    @property
    def session(self) -> Session:
        """The session; there is one once the context is open."""
        assert self._session, "open the context first"
        return self._session

    async def open(self, sources: Sequence[str]) -> None:
        """Load the profile and open the visuals, unless that is done.

        Raises MediaError or ProfileError.
        """
        if self._session is None:
            self._session = await asyncio.to_thread(shared_session, self.profile)
        if not self.visuals:
            self.visuals = tuple(
                await media.in_background(lambda: [media.open(source, allow_urls=self._allow_urls) for source in sources])
            )

    def keep(self, frames: Sequence[Frame], pixels: np.ndarray) -> None:
        """Keep decoded pixels, (n, height, width, 3) uint8 RGB at the profile's frame size."""
        self._pictures.update(zip(frames, map(Picture, pixels), strict=True))

    async def show(self, frames: Sequence[Frame]) -> list[ShownFrame]:
        """Return the frames with their pixels at the profile's frame size; decode what is missing.

        Raises MediaError.
        """
        for position, visual in enumerate(self.visuals):
            missing = [frame for frame in frames if frame.visual == position and frame not in self._pictures]
            if missing:
                indices = [frame.index for frame in missing]
                self.keep(missing, await media.in_background(visual.decode, indices, size=self.session.profile.frame_size))
        names = visual_names([opened.visual.kind for opened in self.visuals])
        return [ShownFrame(frame, self._pictures[frame], names[frame.visual]) for frame in frames]
