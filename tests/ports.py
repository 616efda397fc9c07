"""Free ports for servers under test."""

import random
import socket
from contextlib import ExitStack

PORTS = range(20000, 30000)
"""Below those that Linux, macOS and Windows give to outgoing connections, which come and go at any time."""

COUNT = 8


def free_ports():
    """Return the first of eight consecutive free ports."""
    while True:
        first = random.choice(PORTS)
        with ExitStack() as probes:
            try:
                for port in range(first, first + COUNT):
                    probes.enter_context(socket.socket()).bind(("localhost", port))
            except OSError:
                continue
        return first
