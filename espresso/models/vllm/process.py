"""Be the vLLM servers of a profile: vLLM's own arguments, those of each further server behind `--and`.

On two slow cores a server of a tiny model takes 106 s to start, 84 of them to import vLLM three times: in the server, its
engine and its worker. Here it is imported once, and all processes of all servers are forks of that one: two servers in 37 s.
vLLM itself forks where there is a GPU; on a processor it starts afresh, so that OpenMP reads new settings: the worker sets them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from itertools import pairwise
from typing import Any

LOOK_EVERY_S = 0.5
STOPPED_WITHIN_S = 10.0
AND = "--and"
ADAPTERS = "espresso.models.vllm.worker.GroupedAdapters"


def main() -> None:
    """Serve until told to stop, left alone, or one of the servers ends."""
    os.environ["OMP_NUM_THREADS"] = "1"  # threads of OpenMP do not live through a fork
    from vllm.entrypoints.launchers.api_server.entry import main as serve  # noqa: PLC0415 - takes half a minute

    _fork_workers()
    for arguments in _each(sys.argv[1:]):
        if os.fork() == 0:
            sys.argv[1:] = arguments
            serve()
            return
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the servers got it too; this process ends with them
    os.wait()
    os.killpg(0, signal.SIGTERM)  # without one of its servers a profile is of no use
    until = time.monotonic() + STOPPED_WITHIN_S
    with suppress(ChildProcessError):
        while time.monotonic() < until:
            os.waitpid(-1, os.WNOHANG)
            time.sleep(LOOK_EVERY_S)
        os.killpg(0, signal.SIGKILL)
    sys.exit(1)


def _each(arguments: list[str]) -> list[list[str]]:
    """Cut at each `--and`."""
    cuts = [-1, *(place for place, word in enumerate(arguments) if word == AND), len(arguments)]
    return [arguments[start + 1 : end] for start, end in pairwise(cuts)]


def _fork_workers() -> None:
    """Have the engine forked on a processor too, and do the work itself: vLLM's would have a worker, and spin while it waits."""
    from vllm.platforms import current_platform  # noqa: PLC0415

    if not current_platform.is_cpu():
        return
    configure = current_platform.check_and_update_config

    def configured(config: Any) -> None:
        configure(config)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
        if config.parallel_config.world_size == 1:
            config.parallel_config.distributed_executor_backend = "uni"

    platform = type(current_platform)
    platform.check_and_update_config = staticmethod(configured)  # type: ignore[method-assign, assignment]
    platform.get_punica_wrapper = staticmethod(lambda: ADAPTERS)  # type: ignore[method-assign]


def _end_with(parent: int) -> None:
    """End the whole process group once `parent` is gone."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
