"""A session: a profile, its models and the cache, opened once and shared by all questions.

    with Session("tiny") as session:
        first = espresso.ask("clip.mp4", "What happens?", session=session)
        second = espresso.ask("other.mp4", "Why?", session=session)

Any number of threads and questions may share a session. Several sessions with different profiles
can be open at once; closing one frees its models.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from espresso import profiles
from espresso.cache import Cache, default_folder
from espresso.forks import Lock
from espresso.models import Roles, connect
from espresso.profiles import Profile

Result = TypeVar("Result")

KEPT_SESSIONS = 2
"""Sessions that `shared_session` keeps: of the last two profiles, so memory is bounded."""


class Session:
    """A profile, its connected models and the cache.

    Args:
        profile: a profile, its name or the path of its TOML file. None is ESPRESSO_PROFILE, else
            `tiny`.
        roles: connected models to use instead of the profile's own; the caller closes them.
        cache: whether captions and judge replies are cached, the folder to cache them in, or an
            open cache, which the caller closes. True is the default folder.

    Raises:
        ProfileError: the profile does not exist, is invalid, or names an API key that is not set.
    """

    profile: Profile
    """The profile that was loaded."""

    roles: Roles
    """The models. None is loaded before it is first used, or before `load`."""

    cache: Cache | None
    """Captions, samplings and judge replies; None if nothing is cached."""

    def __init__(
        self, profile: str | Path | Profile | None = None, *, roles: Roles | None = None, cache: bool | Path | Cache = True
    ) -> None:
        self.profile = profiles.load(profile)
        self._owns_roles = roles is None
        self._owns_cache = not isinstance(cache, Cache)
        self.roles = connect(self.profile) if roles is None else roles
        if isinstance(cache, Cache):
            self.cache = cache
        else:
            self.cache = None if cache is False else Cache(None if cache is True else cache)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine that uses this session, then close the connections that it opened.

        Works in a notebook too: where an event loop is running already, the coroutine runs in a
        thread of its own.
        """

        async def with_connections() -> Result:
            try:
                return await work
            finally:
                await self.roles.disconnect()

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(with_connections())
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, with_connections()).result()

    def close(self) -> None:
        """Free the models and close the cache, as far as the session opened them."""
        if self._owns_roles:
            self.roles.close()
        if self._owns_cache and self.cache:
            self.cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def shared_session(profile: str | Path | Profile | None = None) -> Session:
    """Return the session of a profile that is kept between questions, with its models loaded.

    The two profiles used last are kept. An older session is freed once nothing uses it any more.
    """
    loaded = profiles.load(profile)
    key = loaded.model_dump_json(), default_folder()
    with _sharing:
        session = _shared.pop(key, None) or Session(loaded)
        _shared[key] = session
        while len(_shared) > KEPT_SESSIONS:
            _shared.popitem(last=False)
    return session


_shared: OrderedDict[tuple[str, Path], Session] = OrderedDict()
_sharing = Lock()
