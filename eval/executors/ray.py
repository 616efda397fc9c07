"""Run samples on the machines of a Ray cluster.

A worker opens one session of the profile and gets the questions about one clip at a time. If models
run in process and the cluster has GPUs, a worker takes one GPU and decodes on the CPUs next to it,
in the processes of `espresso.media`. If models are behind servers, or there is no GPU, a worker
takes one CPU, decodes there and asks the servers: with `tiny@localhost:8000` each worker asks a
server on its own machine, with `tiny@host:8000` all workers ask the same one.

Only the caller writes to the run's folder. Every machine needs Espresso and, under the same paths,
the dataset's videos and the models that are in folders. The world's clips are rendered where they
are missing, in the caller's ESPRESSO_CACHE. API keys must be in the workers' environment.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from agents.ray_cluster import run_on_workers
from agents.session import Session
from espresso.profiles import Profile
from eval.executors.local import CLIPS_AT_ONCE, Keep, QuestionGroup
from eval.sample import Sample, run_sample
from eval.task import EvalTask, TaskSpec, load_models


class Worker:
    """One session of a profile, on the machine where Ray places the worker.

    The arguments are those of `run`.
    """

    def __init__(self, profile: Profile, spec: TaskSpec, prepare: Callable[[], object], folder: Path) -> None:
        self._profile, self._spec, self._prepare, self._folder = profile, spec, prepare, folder
        self._loading = asyncio.Lock()
        self._loaded: tuple[EvalTask, Session] | None = None

    async def ready(self) -> None:
        """Load the models and prepare the dataset's files.

        Raises ModelError, ProfileError or DataError.
        """
        await self._load()

    async def run(self, group: QuestionGroup) -> list[Sample]:
        """Run all questions about one clip. Raises ServerDownError."""
        task, session = await self._load()
        return [await run_sample(question, task, session) for question in group]

    async def _load(self) -> tuple[EvalTask, Session]:
        async with self._loading:
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(self._open)
            return self._loaded

    def _open(self) -> tuple[EvalTask, Session]:
        with suppress(OSError):  # if the folder is missing here, the error names the file that is looked for in it
            os.chdir(self._folder)
        session = Session(self._profile)
        load_models(session, self._spec)
        self._prepare()
        return self._spec.task(session), session


async def run(
    groups: Sequence[QuestionGroup],
    keep: Keep,
    *,
    profile: Profile,
    spec: TaskSpec,
    prepare: Callable[[], object],
    address: str | None = None,
    workers: int | None = None,
) -> None:
    """Run the questions about all clips on the workers of a cluster.

    Args:
        groups: the questions, by clip.
        keep: records a sample.
        profile: the profile of each worker's session.
        spec: what is done with each question.
        prepare: renders or checks the dataset's files on a worker's machine.
        address: address of the cluster, see `agents.ray_cluster.run_on_workers`.
        workers: number of workers; None for as many as there is room for.

    Raises:
        ModelError: no cluster can be reached, or a worker cannot be kept alive.
        ServerDownError: a model's server is gone.
        Exception: what a worker raises while it loads, and what `keep` raises.
    """
    await run_on_workers(
        Worker,
        (profile, spec, prepare, Path.cwd()),
        groups,
        keep,
        roles=(profile.captioner, profile.selector, profile.reasoner),
        name=name_of,
        lost=lost_samples,
        at_once=CLIPS_AT_ONCE,
        address=address,
        workers=workers,
    )


def name_of(group: QuestionGroup) -> str:
    """Return the name of a clip's questions."""
    return group[0].id


def lost_samples(group: QuestionGroup, error: str) -> list[Sample]:
    """Return error samples for questions that kill their worker."""
    return [Sample(id=question.id, question=question, order=(), error=error) for question in group]
