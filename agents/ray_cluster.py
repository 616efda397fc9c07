"""Distribute work over the machines of a Ray cluster.

Ray places workers, restarts lost ones and carries errors back. A worker is a class with `ready`,
which loads what it needs, and `run`, which does one item of the work. Items of a lost worker go to
others.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from espresso.cache import default_folder
from espresso.errors import ModelError
from espresso.profiles import ServerRole

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError as error:
    raise ModelError("Ray is not installed. Install videoespresso[ray], or use --engine local.") from error

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_LOSSES = 2
"""An item is given up once a worker died this often while it had nothing else."""
GIVEN_UP = (
    f"a worker died {MAX_LOSSES} times while it ran only this clip. "
    "Run the same command again, with fewer workers if memory is short."
)
MAX_RESTARTS = 8
"""The run stops once a worker died this often. A machine that is taken away does not count."""
CONNECT_TIMEOUT_S = 5.0
OBJECT_STORE_BYTES = 100_000_000
"""Object store of a cluster started here: only small records pass through it."""
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}


async def run_on_workers(
    worker: type,
    arguments: Sequence[Any],
    items: Sequence[Item],
    keep: Callable[[Result], None],
    *,
    roles: Sequence[object],
    name: Callable[[Item], str],
    lost: Callable[[Item, str], Sequence[Result]],
    at_once: int,
    address: str | None = None,
    workers: int | None = None,
) -> None:
    """Place workers on a cluster, let them do all items, and remove them.

    Args:
        worker: the class of the workers.
        arguments: arguments of its constructor.
        items: the work.
        keep: records a result.
        roles: the profile's roles that a worker uses: a worker takes one GPU if some are local.
        name: the name of an item.
        lost: the results of an item that kills its worker, with the reason.
        at_once: most items of one worker at the same time.
        address: address of the cluster, "host:6379" or "auto". None starts one on this machine; a
            cluster that this process has joined already is used as it is.
        workers: number of workers; None for as many as there is room for.

    Raises:
        ModelError: no cluster can be reached, or a worker cannot be kept alive.
        Exception: what a worker raises while it loads, and what `keep` raises.
    """
    if not items:
        return
    with cluster(address, workers):
        needs = _needs(roles)
        room = int(min(ray.available_resources().get(kind, 0) for kind in needs))
        count = min(workers or max(room, 1), len(items))
        remote: Any = ray.remote(worker)
        placed = remote.options(
            num_cpus=1,
            num_gpus=needs.get("GPU", 0),
            max_restarts=MAX_RESTARTS,
            runtime_env={"env_vars": {"ESPRESSO_CACHE": str(default_folder().absolute())}},
        )
        handles = [placed.remote(*arguments) for _ in range(count)]
        try:
            await distribute(items, handles, keep, name=name, lost=lost, at_once=at_once)
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


async def distribute(
    items: Sequence[Item],
    workers: Sequence[Any],
    keep: Callable[[Result], None],
    *,
    name: Callable[[Item], str],
    lost: Callable[[Item, str], Sequence[Result]],
    at_once: int,
) -> None:
    """Give items to workers that have room until every one has its results.

    Items of lost workers are given again.

    Args:
        items: the work.
        workers: handles of actors whose `run` takes an item and returns a list of results.
        keep: records a result.
        name: the name of an item.
        lost: the results of an item that kills its worker, with the reason.
        at_once: most items of one worker at the same time.

    Raises:
        ExceptionGroup: what a worker raises while it loads, and what `keep` raises.
    """
    queue: asyncio.Queue[Item] = asyncio.Queue()
    for item in items:
        queue.put_nowait(item)
    losses = Counter[str]()

    async def feed(worker: Any, alone: bool) -> None:
        while True:
            item = await queue.get()
            try:
                for result in lost(item, GIVEN_UP) if losses[name(item)] == MAX_LOSSES else await worker.run.remote(item):
                    keep(result)
            except RayTaskError as error:
                raise error.cause from None
            except (RayError, asyncio.CancelledError):  # the worker is lost, with everything it was working on
                logger.warning("a worker was lost while it ran %s", name(item))
                losses[name(item)] += alone
                queue.put_nowait(item)
                queue.task_done()
                raise
            queue.task_done()  # not after an error that ends the run: the queue must not look finished then

    async def use(worker: Any) -> None:
        room = min(at_once, -(-len(items) // len(workers)))
        while True:
            await _ready(worker)
            feeds = [asyncio.create_task(feed(worker, alone=room == 1)) for _ in range(room)]
            try:
                await asyncio.wait(feeds, return_when=asyncio.FIRST_EXCEPTION)
            finally:  # no TaskGroup: it forgets a cancellation if one of its tasks fails at the same moment
                for each in feeds:
                    each.cancel()
                results = await asyncio.gather(*feeds, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException) and not isinstance(result, RayError | asyncio.CancelledError):
                    raise result
            room = max(1, room // 4)  # memory or a single item may be the cause; with one item at a time it shows

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
            "enough memory; what is done is kept, and the same command resumes."
        ) from None


def _needs(roles: Sequence[object]) -> dict[str, int]:
    """Return a worker's resources: a CPU, and a GPU if models run in process and there are any."""
    local = any(role is not None and not isinstance(role, ServerRole) for role in roles)
    return {"CPU": 1, "GPU": 1} if local and ray.cluster_resources().get("GPU", 0) >= 1 else {"CPU": 1}


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
