"""Run a function in a forked child, which has the threads of its parent no longer."""

import json
import os
import signal

LIMIT_S = 120


def in_child(work):
    """Return the JSON value of `work()`, run in a child; a child that hangs is killed and gives None."""
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        try:
            signal.alarm(LIMIT_S)
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        written = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(written) if written else None
