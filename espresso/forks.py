"""Locks and threads after `os.fork`: only the thread that forked exists in the child.

A lock that another thread held stays locked in the child, and nothing serves the queue of a thread
that is gone. What owns either is renewed in the child before anything else runs there.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """Something that a forked child has to make again."""

    def renew(self) -> None:
        """Replace locks and threads. Called in a forked child, where one thread runs."""
        ...


def renew_in_child(thing: Renewable) -> None:
    """Call `renew` in every child that is forked while `thing` is in use."""
    _things.add(thing)


class Lock:
    """A `threading.Lock` for `with` statements that is open in a forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        renew_in_child(self)

    def renew(self) -> None:
        """Open the lock; see `Renewable`."""
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()


_things: WeakSet[Renewable] = WeakSet()


def _renew_all() -> None:
    for thing in tuple(_things):
        thing.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_renew_all)
