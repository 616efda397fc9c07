"""Ask on the machines of a Ray cluster: the engine `ray`. Ray places workers, starts lost ones anew and carries errors home.

A worker holds one replica of the profile's models and gets a clip at a time, with all its questions. Where models are in
process and the cluster has GPUs, a worker takes one GPU, and decodes on the processors beside it, in the processes of
`espresso.media`. Where models are behind servers, or there is no GPU, it takes one processor: it decodes there and asks the
servers. At `tiny@localhost:8000` it asks the server of its own machine, at `tiny@host:8000` all workers ask one.

The caller alone writes to the run's folder. Every machine needs Espresso, the benchmark's videos and models in folders under the
same paths; the world's clips are made where they are not, in the caller's ESPRESSO_CACHE; keys must be in the workers'
environment.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from espresso.cache import Cache, default_folder
from espresso.errors import ModelError
from espresso.models import connect
from espresso.profiles import LocalRole, Profile
from eval.executors.local import CLIPS_AT_ONCE, Clip, Keep
from eval.metrics import Sample
from eval.sample import Asking, load_models

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError as error:
    raise ModelError("Ray is not installed. Install videoespresso[ray], or use --engine local.") from error

LOSSES = 2
"""So often may a worker die while it has one clip alone before the clip's questions are errors."""
RESTARTS = 8
"""So often may a worker die before the run stops. A machine that is taken away does not count."""
ANSWERS_WITHIN_S = 5.0
STORE_BYTES = 100_000_000
"""Of a cluster started here: only questions and answers pass through its store."""
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}


class Worker:
    """One replica of a profile's models, on the machine where Ray puts it. See `ask` for what it is made of."""

    def __init__(self, profile: Profile, asking: Callable[..., Asking], files: Callable[[], object], folder: Path) -> None:
        self._profile, self._make, self._files, self._folder = profile, asking, files, folder
        self._loading = asyncio.Lock()
        self._asking: Asking | None = None

    async def ready(self) -> None:
        """Load the models and see to the benchmark's files. Raises ModelError, ProfileError or DataError."""
        await self._loaded()

    async def ask(self, clip: Clip) -> list[Sample]:
        """Ask all questions about a clip. Raises ServerDownError."""
        asking = await self._loaded()
        return [await asking.sample(question) for question in clip]

    async def _loaded(self) -> Asking:
        async with self._loading:
            if self._asking is None:
                self._asking = await asyncio.to_thread(self._load)
            return self._asking

    def _load(self) -> Asking:
        with suppress(OSError):  # a folder that is not here: a file that is looked for in it will be told
            os.chdir(self._folder)
        asking = self._make(roles=connect(self._profile), cache=Cache())
        load_models(asking.roles, asking.strategy)
        self._files()
        return asking


async def ask(
    clips: Sequence[Clip],
    keep: Keep,
    *,
    profile: Profile,
    asking: Callable[..., Asking],
    files: Callable[[], object],
    address: str | None = None,
    workers: int | None = None,
) -> None:
    """Ask about all clips by workers on a cluster.

    asking: makes an `Asking` of `roles` and `cache`. files: makes or checks the benchmark's files on a worker's machine. address:
    of the cluster, "host:6379" or "auto"; None starts one on this machine; one that this process has open is used as it is.
    workers: how many, by default as many as there is room for. Of a worker that is lost, the clips go to others.

    Raises ModelError where no cluster answers or a worker cannot be kept alive, what a worker raises while it gets ready,
    ServerDownError, and what `keep` raises; some of it in an ExceptionGroup.
    """
    if not clips:
        return
    with cluster(address, workers):
        needs = _needs(profile)
        room = int(min(ray.available_resources().get(kind, 0) for kind in needs))
        count = min(workers or max(room, 1), len(clips))
        remote: Any = ray.remote(Worker)
        placed = remote.options(
            num_cpus=1,
            num_gpus=needs.get("GPU", 0),
            max_restarts=RESTARTS,
            runtime_env={"env_vars": {"ESPRESSO_CACHE": str(default_folder().absolute())}},
        )
        await hand_out(clips, [placed.remote(profile, asking, files, Path.cwd()) for _ in range(count)], keep)


def check(address: str | None) -> None:
    """Raise ModelError where no one listens at a cluster's address; Ray itself would wait for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host, int(port)), ANSWERS_WITHIN_S).close()
        except OSError as error:
            raise _no_cluster(address, error) from None


async def hand_out(clips: Sequence[Clip], workers: Sequence[Any], keep: Keep) -> None:
    """Give clips to whichever worker has room, again those of a worker that was lost, until a sample of each question is kept."""
    left: asyncio.Queue[Clip] = asyncio.Queue()
    for clip in clips:
        left.put_nowait(clip)
    losses = Counter[str]()

    async def feed(worker: Any, alone: bool) -> None:
        while True:
            clip = await left.get()
            try:
                for sample in _lost(clip) if losses[clip[0].id] == LOSSES else await worker.ask.remote(clip):
                    keep(sample)
            except RayTaskError as error:
                raise error.cause from None
            except (RayError, asyncio.CancelledError):  # the worker is lost, with all that it was asked
                losses[clip[0].id] += alone
                left.put_nowait(clip)
                left.task_done()
                raise
            left.task_done()  # not where it failed for good: nothing is done then, and the failure ends it all

    async def use(worker: Any) -> None:
        places = min(CLIPS_AT_ONCE, -(-len(clips) // len(workers)))
        while True:
            await _ready(worker)
            feeds = [asyncio.create_task(feed(worker, alone=places == 1)) for _ in range(places)]
            try:
                await asyncio.wait(feeds, return_when=asyncio.FIRST_EXCEPTION)
            finally:  # no TaskGroup: it forgets that it was cancelled where one of its tasks fails at the same moment
                for each in feeds:
                    each.cancel()
                ends = await asyncio.gather(*feeds, return_exceptions=True)
            for end in ends:
                if isinstance(end, BaseException) and not isinstance(end, RayError | asyncio.CancelledError):
                    raise end
            places = max(1, places // 4)  # memory may have been the cause, or one clip: alone, it will show

    async with asyncio.TaskGroup() as tasks:
        used = [tasks.create_task(use(worker)) for worker in workers]
        await left.join()
        for task in used:
            task.cancel()


async def _ready(worker: Any) -> None:
    """Wait until Ray has placed a worker, or placed it anew, and it has loaded. Raises what it raises, or ModelError."""
    try:
        await worker.ready.options(max_task_retries=-1).remote()
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise ModelError(
            f"a worker died for good ({_first_line(error)}). See that every machine has Espresso and enough memory; "
            "answers are kept, and the same command goes on."
        ) from None


def _lost(clip: Clip) -> list[Sample]:
    """Samples of questions that cannot be asked; their options were shown in no order."""
    error = f"a worker died {LOSSES} times with this clip alone. Run the same again, with fewer workers where memory is short."
    return [Sample(id=question.id, question=question, order=(), error=error) for question in clip]


def _needs(profile: Profile) -> dict[str, int]:
    """What a worker takes of a cluster: a processor, and a GPU where models are in process and there are any."""
    roles = (profile.captioner, profile.selector, profile.reasoner)
    gpus = any(isinstance(role, LocalRole) for role in roles) and ray.cluster_resources().get("GPU", 0) >= 1
    return {"CPU": 1, "GPU": 1} if gpus else {"CPU": 1}


@contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[None]:
    """Join a cluster, or start one on this machine with room for so many workers, unless this process has one open."""
    if ray.is_initialized():
        yield
        return
    try:
        if address:
            ray.init(address, **QUIET)
        else:
            _start(workers)
    except Exception as error:  # Ray raises plain ones too
        raise _no_cluster(address, error) from None
    try:
        yield
    finally:
        ray.shutdown()


def _start(workers: int | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        ray.init("local", **own, **QUIET)
    except Exception:  # it gives a machine 30 s to start, which is little for a busy one
        ray.init("local", **own, **QUIET)


def _no_cluster(address: str | None, error: Exception) -> ModelError:
    if address is None:
        return ModelError(f"Ray cannot be started here ({_first_line(error)}). Use --engine local.")
    return ModelError(
        f"{address}: no Ray cluster lets us in there ({_first_line(error)}). Start one with `ray start --head`, "
        "set RAY_AUTH_MODE=token where it asks for a token, or leave --address out."
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
