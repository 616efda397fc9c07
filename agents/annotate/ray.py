"""Annotate videos on the machines of a Ray cluster.

Every machine needs Espresso and, under the same paths, the videos, the models that are in folders
and the work folder with the checkpoints. Only the caller writes the log and the output.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from agents.annotate.records import VideoAnnotation
from agents.annotate.work import AnnotateConfig, Work, load_models
from agents.budget import Budget, metered
from agents.ray_cluster import run_on_workers
from agents.session import Session
from espresso import media
from espresso.errors import DataError
from espresso.profiles import Profile

VIDEOS_AT_ONCE = 4
"""Videos of one worker at the same time."""


@dataclass(frozen=True)
class Settings:
    """What a worker is made of."""

    profile: Profile

    config: AnnotateConfig

    folder: Path
    """The work folder."""

    allow_out_of_domain: bool

    max_cost: float | None
    """A worker's part of the budget, in dollars; None is no limit."""


class Worker:
    """One session of a profile, on the machine where Ray places the worker.

    Args:
        settings: the settings.
        current: the caller's current folder.
    """

    def __init__(self, settings: Settings, current: Path) -> None:
        self._settings, self._current = settings, current
        self._loading = asyncio.Lock()
        self._work: Work | None = None

    async def ready(self) -> None:
        """Load the models. Raises ModelError or ProfileError."""
        await self._load()

    async def run(self, source: str) -> list[VideoAnnotation]:
        """Annotate a video. Raises ServerDownError and BudgetExceededError."""
        work = await self._load()
        return [await work.annotate_video(source, await media.in_background(media.open, source))]

    async def _load(self) -> Work:
        async with self._loading:
            if self._work is None:
                work = await asyncio.to_thread(self._open)
                await load_models(work.session, distractors=self._settings.config.distractors)
                self._work = work
            return self._work

    def _open(self) -> Work:
        with suppress(OSError):  # the error then names the file that is looked for in it
            os.chdir(self._current)
        settings = self._settings
        session = Session(settings.profile)
        if settings.max_cost is not None:
            session.roles = metered(session.roles, session.profile, Budget(settings.max_cost))
        return Work(session, settings.config, settings.folder, allow_out_of_domain=settings.allow_out_of_domain)


async def annotate_all(
    sources: Sequence[str],
    keep: Callable[[VideoAnnotation], None],
    settings: Settings,
    *,
    address: str | None,
    workers: int | None,
) -> None:
    """Annotate videos on the workers of a cluster; each gets an equal part of the budget.

    Args:
        sources: paths of the videos.
        keep: records a result.
        settings: the settings; `max_cost` is the whole budget.
        address: address of the cluster, see `agents.ray_cluster.run_on_workers`.
        workers: number of workers; required with a budget, since it is divided by it.

    Raises:
        DataError: there is a budget, and no number of workers.
        ModelError: no cluster can be reached, or a worker cannot be kept alive.
        ServerDownError: a model's server does not answer.
        BudgetExceededError: a worker's part of the budget is spent.
    """
    if settings.max_cost is not None:
        if workers is None:
            raise DataError("--max-cost is divided among the workers. Give their number with --workers.")
        settings = replace(settings, max_cost=settings.max_cost / min(workers, len(sources) or 1))
    profile = settings.profile
    await run_on_workers(
        Worker,
        (settings, Path.cwd()),
        sources,
        keep,
        roles=(profile.captioner, profile.writer, profile.detector, profile.reasoner),
        name=str,
        lost=lambda source, error: [VideoAnnotation(id=source, source=source, error=error)],
        at_once=VIDEOS_AT_ONCE,
        address=address,
        workers=workers,
    )
