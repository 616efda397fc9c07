"""A forked child finds open locks, and renews what it inherited."""

import os
import threading
from contextlib import ExitStack

import pytest
from forked import in_child

from espresso.forks import Lock, renew_in_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def test_a_lock_that_a_thread_holds_is_open_in_a_child():
    lock, held, release = Lock(), threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            release.wait()

    def take():
        with lock:
            return "taken"

    with ExitStack() as stack:
        thread = threading.Thread(target=hold)
        stack.callback(thread.join)
        stack.callback(release.set)
        thread.start()
        held.wait()
        assert in_child(take) == "taken"


def test_a_lock_excludes_other_threads():
    lock, inside = Lock(), []

    def work():
        for _ in range(200):
            with lock:
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not inside


def test_what_is_in_use_is_renewed_in_the_child_only():
    class Thing:
        renewed = 0

        def renew(self):
            self.renewed += 1

    thing = Thing()
    renew_in_child(thing)
    assert in_child(lambda: thing.renewed) == 1
    assert thing.renewed == 0
