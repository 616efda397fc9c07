"""Processes that render clips: a worker program of their own, not copies of the calling program.

`multiprocessing` imports the caller's main module again in each process that it starts, which fails
in a script without `if __name__ == "__main__"`, in a notebook cell and in a script from stdin. The
program here gets the caller's `sys.path` and imports this package alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.connection import Connection
from queue import LifoQueue
from types import TracebackType
from typing import Any, Self

from espresso.errors import DataError

_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from espresso.world.workers import serve; serve()"


class Worker:
    """A process that calls functions of this package, used by one thread at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C interrupts the caller alone, which stops the worker
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests = Connection(os.dup(self._process.stdin.fileno()), readable=False)
        self._replies = Connection(os.dup(self._process.stdout.fileno()), writable=False)

    def call(self, function: Callable[[Any], object], job: Any) -> None:
        """Call a function of a module of this package in the process, and wait until it returns.

        Raises:
            DataError: the process ended.
            Exception: what the function raised.
        """
        try:
            self._requests.send((function, job))
            error = self._replies.recv()
        except (EOFError, OSError):
            raise DataError(
                f"a process that renders clips ended with code {self._process.wait()}, perhaps for lack of memory. Run the "
                "command again to continue, with fewer workers if it happens again."
            ) from None
        if error is not None:
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._requests.close()
        self._replies.close()
        self._process.kill()
        with self._process:  # closes the pipes and waits
            pass


def run(function: Callable[[Any], object], jobs: Sequence[Any], workers: int) -> Iterator[None]:
    """Call a function for each job in worker processes; yield as the jobs are done, in their order.

    Args:
        function: a function of a module of this package.
        jobs: its arguments.
        workers: number of processes.
    """
    with ExitStack() as stack:
        free: LifoQueue[Worker] = LifoQueue()
        for _ in range(min(workers, len(jobs))):
            free.put(stack.enter_context(Worker()))

        def call(job: Any) -> None:
            worker = free.get()
            try:
                worker.call(function, job)
            finally:
                free.put(worker)

        threads = ThreadPoolExecutor(free.qsize())
        stack.callback(threads.shutdown, wait=True, cancel_futures=True)
        yield from threads.map(call, jobs)


def serve() -> None:
    """Answer the calls of a `Worker` until it closes the pipe or ends."""
    replies = Connection(os.dup(sys.stdout.fileno()), readable=False)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # keep the output of libraries out of the replies
    requests = Connection(os.dup(sys.stdin.fileno()), writable=False)
    while True:
        try:
            function, job = requests.recv()
        except EOFError:
            return
        try:
            function(job)
        except Exception as error:
            replies.send(error)
        else:
            replies.send(None)
