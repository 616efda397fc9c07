"""Talk to the decoder processes: start one when first needed, keep it warm, and kill it when it hangs.

Measured on two cores: starting one takes 0.1 to 0.2 s, once; a request to a running process costs under 1 ms, and a 224x224
frame 0.1 ms on top of its decoding.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from queue import LifoQueue
from typing import Any, TypeVar

import numpy as np

from espresso.errors import MediaError

STALL_S = 30.0
"""Without a sign of life (a frame, or a tick while it works) for so long, the decoder hangs."""

Result = TypeVar("Result")

START_S = 120.0
"""So long may the process take to start (0.1 s, but minutes on a machine that is starved)."""

AT_ONCE = min(4, os.cpu_count() or 1)
"""Files that are decoded at the same time, by a process each; every one decodes on one thread."""


class DecoderProcess:
    """One decoder process, for one thread at a time.

    stall_s: seconds without a sign of life after which the process is killed and the request fails; the next one starts afresh.
    """

    def __init__(self, stall_s: float = STALL_S) -> None:
        self.stall_s = stall_s
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._ready = False

    @property
    def pid(self) -> int | None:
        """The id of the running process, None before the first request and after a kill."""
        return self._process.pid if self._process else None

    def ask(self, command: str, path: Path, known: dict[str, Any] | None, *rest: Any) -> tuple[Any, dict[int, np.ndarray]]:
        """Run a command of `espresso.media.decoder` on a file.

        Returns its result and, for the reading commands, the upright frames by position, (height, width, 3) uint8 each.
        Raises MediaError, whose message lacks the file's name, if the file is at fault, or the decoder hung or died on it.
        """
        process = self._running()
        assert process.stdin
        assert process.stdout
        frames: dict[int, np.ndarray] = {}
        try:
            Connection(os.dup(process.stdin.fileno()), readable=False).send((command, str(path), known, *rest))
            replies = Connection(os.dup(process.stdout.fileno()), writable=False)
            while True:
                if not replies.poll(self.stall_s if self._ready else START_S):
                    self.stop()
                    raise MediaError(f"decoding stood still for {self.stall_s:g} s and was stopped. Convert the file to H.264.")
                match replies.recv():
                    case ("ready",):
                        self._ready = True
                    case ("frame", position, width, height, row_bytes, turns):
                        rows = np.frombuffer(replies.recv_bytes(), np.uint8).reshape(-1, row_bytes)[:height, : width * 3]
                        frames[position] = np.rot90(rows.reshape(height, width, 3), turns)
                    case ("done", result):
                        return result, frames
                    case ("error", sentence):
                        raise MediaError(sentence)
        except (EOFError, OSError):
            self.stop()
            raise MediaError("the decoder crashed on it. Convert it to H.264 or get it anew.") from None
        except BaseException as error:
            if not isinstance(error, MediaError):  # interrupted half way: what is still to come belongs to nobody
                self.stop()
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # never started, or inherited by a fork: the parent's process is not ours to use
            self._process = None
        if self._process is None or self._process.poll() is not None:
            program = [sys.executable, "-P", str(Path(__file__).with_name("decoder.py"))]
            self._process = subprocess.Popen(
                program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
            )
            self._owner, self._ready = os.getpid(), False
        return self._process

    def stop(self) -> None:
        """Kill the process, if it runs and is ours."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    pipe.close()
        self._process = None


class Decoders:
    """Several decoder processes. A request takes one that is free, the warmest first, and waits where none is."""

    def __init__(self, count: int) -> None:
        self._all = [DecoderProcess() for _ in range(count)]
        self._free: LifoQueue[DecoderProcess] = LifoQueue()
        for process in self._all:
            self._free.put(process)

    @property
    def pids(self) -> list[int]:
        """The ids of those that run."""
        return [process.pid for process in self._all if process.pid]

    def ask(self, *request: Any) -> tuple[Any, dict[int, np.ndarray]]:
        """Have a process do it; see `DecoderProcess.ask`."""
        process = self._free.get()
        try:
            return process.ask(*request)
        finally:
            self._free.put(process)

    def stop(self) -> None:
        """Kill those that run."""
        for process in self._all:
            process.stop()


decoder = Decoders(AT_ONCE)
atexit.register(decoder.stop)


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Keep threads for a process: a fork has none of its parent's."""
    return ThreadPoolExecutor(AT_ONCE, f"decode-{process}")


async def in_background(work: Callable[..., Result], *arguments: Any, **settings: Any) -> Result:
    """Run work that decodes on threads kept for it, one for each process: waiting for a decoder takes no thread from others."""
    return await asyncio.get_running_loop().run_in_executor(_threads(os.getpid()), partial(work, *arguments, **settings))
