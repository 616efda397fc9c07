"""The process of a profile's vLLM servers. Arguments: vLLM's for each server, with `--and` between.

Words such as CUDA_VISIBLE_DEVICES=0 before a server's arguments are environment variables.

On two slow cores, vLLM takes 106 s to start one server of a tiny model, 84 s of them to import vLLM
three times: in the server, its engine and its worker. This process imports it once, and all
processes of all servers are its forks: two servers take 37 s. vLLM forks by itself on a GPU; on a
CPU it spawns, so that OpenMP reads new settings, which the worker sets here instead.
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

POLL_S = 0.5
STOP_TIMEOUT_S = 10.0
SEPARATOR = "--and"
"""Separates the arguments of two servers."""
PUNICA_WRAPPER = "espresso.models.vllm.worker.GroupedAdapters"


def main() -> None:
    """Serve until SIGTERM, until the parent process ends, or until one of the servers ends."""
    parent = os.getppid()  # the parent may end while vLLM is imported
    os.environ["OMP_NUM_THREADS"] = "1"  # OpenMP's threads do not survive a fork
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as the plan numbers the GPUs
    from vllm.entrypoints.launchers.api_server.entry import main as serve  # noqa: PLC0415 - takes half a minute

    _patch_cpu_platform()
    for arguments in _split(sys.argv[1:]):
        if os.fork() == 0:
            variables, sys.argv[1:] = _split_environment(arguments)
            os.environ.update(variables)  # CUDA is not initialized before the fork
            serve()
            return
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the servers receive it too; this process ends after them
    os.wait()
    os.killpg(0, signal.SIGTERM)  # a profile needs all of its servers
    deadline = time.monotonic() + STOP_TIMEOUT_S
    with suppress(ChildProcessError):
        while time.monotonic() < deadline:
            os.waitpid(-1, os.WNOHANG)
            time.sleep(POLL_S)
        os.killpg(0, signal.SIGKILL)
    sys.exit(1)


def _split(arguments: list[str]) -> list[list[str]]:
    """Split the arguments at each separator."""
    cuts = [-1, *(index for index, word in enumerate(arguments) if word == SEPARATOR), len(arguments)]
    return [arguments[start + 1 : end] for start, end in pairwise(cuts)]


def _split_environment(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split environment variables from the arguments that follow them."""
    count = next((index for index, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    return dict(word.split("=", 1) for word in arguments[:count]), arguments[count:]


def _patch_cpu_platform() -> None:
    """On a CPU, fork the engine and run the model in it, without a worker to busy-wait for."""
    from vllm.platforms import current_platform  # noqa: PLC0415

    if not current_platform.is_cpu():
        return
    check_and_update_config = current_platform.check_and_update_config

    def patched(config: Any) -> None:
        check_and_update_config(config)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
        if config.parallel_config.world_size == 1:
            config.parallel_config.distributed_executor_backend = "uni"

    platform = type(current_platform)
    platform.check_and_update_config = staticmethod(patched)  # type: ignore[method-assign, assignment]
    platform.get_punica_wrapper = staticmethod(lambda: PUNICA_WRAPPER)  # type: ignore[method-assign]


def _end_with(parent: int) -> None:
    """Kill the process group as soon as the parent process ends."""
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
