"""Decoder processes: started when first needed, kept running, and killed if they hang.

Measured on two cores: a process takes 0.1 to 0.2 s to start. A request to a running process costs
less than 1 ms, and transferring a 224x224 frame 0.1 ms.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
import sys
import time
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
"""A decoder that sends nothing (no frame, no tick) for this many seconds is considered hung."""

START_S = 120.0
"""Timeout in seconds for starting a process: usually 0.1 s, minutes on an overloaded machine."""

CONCURRENCY = min(4, os.cpu_count() or 1)
"""Files decoded concurrently, by one process each; each process decodes on one thread."""

Result = TypeVar("Result")


class DecoderProcess:
    """One decoder process, used by one thread at a time.

    Args:
        stall_s: seconds without a message after which the process is killed and the request fails.
            The next request starts a new process.
    """

    def __init__(self, stall_s: float = STALL_S) -> None:
        self.stall_s = stall_s
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._ready = False

    @property
    def pid(self) -> int | None:
        """Process id, or None before the first request and after a kill."""
        return self._process.pid if self._process else None

    def ask(
        self, command: str, path: Path, index: dict[str, Any] | None, *rest: Any, limit_s: float | None = None
    ) -> tuple[Any, dict[int, np.ndarray]]:
        """Run a command of `espresso.media.decoder` on a file.

        Args:
            command: "index", "scan", "read" or "read_with_decord"; "picture" or "read_picture".
            path: the file.
            index: the result of "index", or None for that command; the limits of pictures.
            rest: positions and size for the reading commands; the limit of pixels for "index".
            limit_s: seconds after which the process is killed and the request fails; None waits for
                as long as the process is busy.

        Returns:
            The index, or for reading commands a note on the frames or None; and the upright frames
            by position, uint8 of shape (height, width, 3) each.

        Raises:
            MediaError: the file is damaged, takes too long, or the decoder hung or crashed. The
                message does not include the file name.
        """
        deadline = None if limit_s is None else time.monotonic() + limit_s
        process = self._running()
        assert process.stdin
        assert process.stdout
        frames: dict[int, np.ndarray] = {}
        try:
            Connection(os.dup(process.stdin.fileno()), readable=False).send((command, str(path), index, *rest))
            replies = Connection(os.dup(process.stdout.fileno()), writable=False)
            while True:
                wait_s = self.stall_s if self._ready else START_S
                left_s = deadline - time.monotonic() if deadline and self._ready else wait_s
                if left_s <= 0 or (left_s < wait_s and not replies.poll(left_s)):
                    self.stop()
                    raise MediaError(f"decoding takes longer than the limit of {limit_s:g} s. Give a shorter or smaller file.")
                if not replies.poll(wait_s):
                    self.stop()
                    raise MediaError(f"decoding hung for {self.stall_s:g} s and was stopped. Convert the file to H.264.")
                match replies.recv():
                    case ("ready",):
                        self._ready = True
                        deadline = None if limit_s is None else time.monotonic() + limit_s
                    case ("frame", position, width, height, row_bytes):
                        rows = np.frombuffer(replies.recv_bytes(), np.uint8).reshape(-1, row_bytes)[:height, : width * 3]
                        frames[position] = rows.reshape(height, width, 3)
                    case ("done", result):
                        return result, frames
                    case ("error", message):
                        raise MediaError(message)
        except (EOFError, OSError):
            self.stop()
            raise MediaError("the decoder crashed. Convert the file to H.264 or get a new copy.") from None
        except BaseException as error:
            if not isinstance(error, MediaError):  # interrupted: later replies would be mistaken for those of the next request
                self.stop()
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # not started, or inherited by a fork and owned by the parent
            self._process = None
        if self._process is None or self._process.poll() is not None:
            program = [sys.executable, "-P", str(Path(__file__).with_name("decoder.py"))]
            self._process = subprocess.Popen(
                program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
            )
            self._owner, self._ready = os.getpid(), False
        return self._process

    def stop(self) -> None:
        """Kill the process if it is running and this process started it."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    pipe.close()
        self._process = None


class DecoderPool:
    """A pool of decoder processes; a request uses the one freed last, or waits for one.

    After `os.fork`, the child has a pool of its own: no thread of it would free a process that was
    in use, or release a lock that was held.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._start()
        os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        self._all = [DecoderProcess() for _ in range(self._count)]
        self._free: LifoQueue[DecoderProcess] = LifoQueue()
        for process in self._all:
            self._free.put(process)

    @property
    def pids(self) -> list[int]:
        """Process ids of the running processes."""
        return [process.pid for process in self._all if process.pid]

    def ask(self, *request: Any, limit_s: float | None = None) -> tuple[Any, dict[int, np.ndarray]]:
        """Run a request on a free process; see `DecoderProcess.ask`."""
        process = self._free.get()
        try:
            return process.ask(*request, limit_s=limit_s)
        finally:
            self._free.put(process)

    def stop(self) -> None:
        """Kill all running processes."""
        for process in self._all:
            process.stop()


decoder = DecoderPool(CONCURRENCY)
"""The decoder of this Python process."""

atexit.register(decoder.stop)


@cache
def _threads(pid: int) -> ThreadPoolExecutor:
    """Return the thread pool of a process: threads do not survive a fork."""
    return ThreadPoolExecutor(CONCURRENCY, f"decode-{pid}")


async def in_background(work: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Run decoding work on a thread pool of its own, which keeps the default executor free."""
    return await asyncio.get_running_loop().run_in_executor(_threads(os.getpid()), partial(work, *args, **kwargs))
