"""Run samples on the machines of a Ray cluster.

Ray places workers, restarts lost ones and carries errors back.

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
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agents.session import Session
from espresso.cache import default_folder
from espresso.errors import ModelError
from espresso.profiles import LocalRole, Profile
from eval.executors.local import CLIPS_AT_ONCE, Keep, QuestionGroup
from eval.sample import Sample, run_sample
from eval.task import EvalTask, TaskSpec, load_models

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError as error:
    raise ModelError("Ray is not installed. Install videoespresso[ray], or use --engine local.") from error

logger = logging.getLogger(__name__)

MAX_LOSSES = 2
"""A clip's questions become errors once a worker died this often while it had the clip alone."""
MAX_RESTARTS = 8
"""The run stops once a worker died this often. A machine that is taken away does not count."""
CONNECT_TIMEOUT_S = 5.0
OBJECT_STORE_BYTES = 100_000_000
"""Object store of a cluster started here: only questions and answers pass through it."""
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}


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

    If a worker is lost, its clips go to other workers.

    Args:
        groups: the questions, by clip.
        keep: records a sample.
        profile: the profile of each worker's session.
        spec: what is done with each question.
        prepare: renders or checks the dataset's files on a worker's machine.
        address: address of the cluster, "host:6379" or "auto". None starts one on this machine; a
            cluster that this process has joined already is used as it is.
        workers: number of workers; None for as many as there is room for.

    Raises:
        ModelError: no cluster can be reached, or a worker cannot be kept alive.
        ServerDownError: a model's server is gone.
        Exception: what a worker raises while it loads, and what `keep` raises.
    """
    if not groups:
        return
    with cluster(address, workers):
        needs = _needs(profile)
        room = int(min(ray.available_resources().get(kind, 0) for kind in needs))
        count = min(workers or max(room, 1), len(groups))
        remote: Any = ray.remote(Worker)
        placed = remote.options(
            num_cpus=1,
            num_gpus=needs.get("GPU", 0),
            max_restarts=MAX_RESTARTS,
            runtime_env={"env_vars": {"ESPRESSO_CACHE": str(default_folder().absolute())}},
        )
        handles = [placed.remote(profile, spec, prepare, Path.cwd()) for _ in range(count)]
        try:
            await distribute(groups, handles, keep)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None


def check_address(address: str | None) -> None:
    """Raise ModelError if nothing listens at a cluster's address.

    Ray itself would wait for minutes.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()
        except OSError as error:
            raise _no_cluster(address, error) from None


async def distribute(groups: Sequence[QuestionGroup], workers: Sequence[Any], keep: Keep) -> None:
    """Give clips to workers that have room until every question has a sample.

    Clips of lost workers are given again.
    """
    queue: asyncio.Queue[QuestionGroup] = asyncio.Queue()
    for group in groups:
        queue.put_nowait(group)
    losses = Counter[str]()

    async def feed(worker: Any, alone: bool) -> None:
        while True:
            group = await queue.get()
            try:
                for sample in _lost(group) if losses[group[0].id] == MAX_LOSSES else await worker.run.remote(group):
                    keep(sample)
            except RayTaskError as error:
                raise error.cause from None
            except (RayError, asyncio.CancelledError):  # the worker is lost, with everything it was working on
                logger.warning("a worker was lost while it ran %s", group[0].id)
                losses[group[0].id] += alone
                queue.put_nowait(group)
                queue.task_done()
                raise
            queue.task_done()  # not after an error that ends the run: the queue must not look finished then

    async def use(worker: Any) -> None:
        at_once = min(CLIPS_AT_ONCE, -(-len(groups) // len(workers)))
        while True:
            await _ready(worker)
            feeds = [asyncio.create_task(feed(worker, alone=at_once == 1)) for _ in range(at_once)]
            try:
                await asyncio.wait(feeds, return_when=asyncio.FIRST_EXCEPTION)
            finally:  # no TaskGroup: it forgets a cancellation if one of its tasks fails at the same moment
                for each in feeds:
                    each.cancel()
                results = await asyncio.gather(*feeds, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException) and not isinstance(result, RayError | asyncio.CancelledError):
                    raise result
            at_once = max(1, at_once // 4)  # memory or a single clip may be the cause; with one clip at a time it shows

    async with asyncio.TaskGroup() as tasks:
        used = [tasks.create_task(use(worker)) for worker in workers]
        await queue.join()
        for task in used:
            task.cancel()


async def _ready(worker: Any) -> None:
    """Wait until Ray has placed a worker (again) and it has loaded.

    Raises what the worker raises, or ModelError.
    """
    try:
        await worker.ready.options(max_task_retries=-1).remote()
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise ModelError(
            f"a worker died {MAX_RESTARTS + 1} times ({_first_line(error)}). Check that every machine has Espresso and "
            "enough memory; answers are kept, and the same command resumes."
        ) from None


def _lost(group: QuestionGroup) -> list[Sample]:
    """Return error samples for questions that kill their worker."""
    error = (
        f"a worker died {MAX_LOSSES} times while it ran only this clip. "
        "Run the same command again, with fewer workers if memory is short."
    )
    return [Sample(id=question.id, question=question, order=(), error=error) for question in group]


def _needs(profile: Profile) -> dict[str, int]:
    """Return a worker's resources: a CPU, and a GPU if models run in process and there are any."""
    roles = (profile.captioner, profile.selector, profile.reasoner)
    gpus = any(isinstance(role, LocalRole) for role in roles) and ray.cluster_resources().get("GPU", 0) >= 1
    return {"CPU": 1, "GPU": 1} if gpus else {"CPU": 1}


@contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[None]:
    """Join a cluster, or start one here for `workers`, unless this process has joined one."""
    if ray.is_initialized():
        yield
        return
    try:
        if address:
            ray.init(address, **QUIET)
        else:
            _start(workers)
    except Exception as error:  # Ray raises plain exceptions too
        raise _no_cluster(address, error) from None
    try:
        yield
    finally:
        ray.shutdown()


def _start(workers: int | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init("local", **own, **QUIET)
    except Exception:  # Ray waits 30 s for its start, which is short on a busy machine
        ray.init("local", **own, **QUIET)


def _no_cluster(address: str | None, error: Exception) -> ModelError:
    if address is None:
        return ModelError(f"could not start Ray on this machine ({_first_line(error)}). Use --engine local.")
    return ModelError(
        f"{address}: could not connect to a Ray cluster ({_first_line(error)}). Start one with `ray start --head`, "
        "set RAY_AUTH_MODE=token if it requires a token, or leave --address out."
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
