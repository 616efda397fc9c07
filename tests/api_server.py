"""What tests of the servers share: requests, and a running server."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest


def asking(source, **more):
    """A chat request about one visual."""
    content = [{"type": "video_url", "video_url": {"url": str(source)}}, {"type": "text", "text": "What happens?"}]
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **more}


class Running:
    """A running `espresso serve api`, or another server."""

    def __init__(self, folder, *arguments, command=("serve", "api"), shell=None, **environment):
        self.log = folder / "server.log"
        start = "from espresso.cli import app; app()"
        command = [sys.executable, "-c", start, *command, "--port", "0", *map(str, arguments)]
        environment = {**os.environ, "ESPRESSO_CACHE": str(folder / "cache"), **environment}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*(shell or ()), *command], stdout=subprocess.PIPE, stderr=log, text=True, env=environment, start_new_session=True
            )
        for line in self.process.stdout:
            if address := re.match(r"(http://[^/\s]+)", line):
                self.url = address[1]
            if line == "ready\n":
                break
        else:
            pytest.fail(self.log.read_text())

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


@contextmanager
def running(folder, *arguments, **environment):
    server = Running(folder, *arguments, **environment)
    try:
        yield server
    finally:
        server.kill()
