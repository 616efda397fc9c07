"""Send many requests at once to `espresso serve api`: lost, equal to serial answers, memory, speed.

    uv run python -m benchmarks.api --requests 200 --questions 20

The serial answers come from `espresso.ask`, one at a time. A clip is sent as a data URL in each
request. "Cached captions" sends the same requests again, with captions from the first time. The
overflow is measured on a second server, with one request in progress and ten that may wait.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

import espresso
from agents.session import Session
from espresso import world
from espresso.schema import Answer, Question

START = "from espresso.cli import app; app()"
PATIENCE_S = 3600
SAMPLE_S = 0.2
"""Interval between two readings of the server's memory."""

Content = tuple[str, str | None, str, list[float]]


def content(answer: Answer) -> Content:
    """Return what must be equal: text, choice, evidence and the times of the core frames."""
    return answer.text, answer.choice, answer.evidence.text, [core.time for core in answer.core_frames]


@contextmanager
def server(cache: Path, *options: str) -> Iterator[tuple[str, int]]:
    """Run a server; yield its address and process id when its models are loaded."""
    command = [sys.executable, "-c", START, "serve", "api", "--port", "0", "--timeout", str(PATIENCE_S), *options]
    environment = os.environ | {"ESPRESSO_CACHE": str(cache)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert process.stdout
    address = process.stdout.readline().split()[0]
    process.stdout.readline()
    try:
        yield address, process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def peak_memory(pid: int) -> Iterator[list[int]]:
    """Yield a list whose only value is the most bytes that a process has had resident so far."""
    peak, ended, process = [0], threading.Event(), psutil.Process(pid)

    def watch() -> None:
        while not ended.wait(SAMPLE_S):
            peak[0] = max(peak[0], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    yield peak
    ended.set()
    thread.join()


async def send(address: str, questions: Sequence[Question], count: int) -> list[httpx.Response | None]:
    """Send `count` requests at once; a request without a reply is None."""
    urls = [f"data:video/mp4;base64,{base64.b64encode(Path(each.visuals[0]).read_bytes()).decode()}" for each in questions]
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_S, limits=limits) as client:

        async def one(number: int) -> httpx.Response | None:
            question, url = questions[number % len(questions)], urls[number % len(questions)]
            body = {"model": "tiny", "visuals": [url], "text": question.text, "options": question.options}
            try:
                return await client.post("/ask", json=body)
            except httpx.HTTPError:
                return None

        return await asyncio.gather(*map(one, range(count)))


def measure(name: str, address: str, pid: int, questions: Sequence[Question], serial: Sequence[Content], count: int) -> None:
    """Send the requests and print a line of the table."""
    before, start = psutil.Process(pid).memory_info().rss, time.perf_counter()
    with peak_memory(pid) as peak:
        replies = asyncio.run(send(address, questions, count))
    seconds = time.perf_counter() - start
    status = Counter(reply.status_code if reply else "lost" for reply in replies)
    answers = [(number, reply) for number, reply in enumerate(replies) if reply and reply.status_code == 200]
    equal = sum(content(Answer.model_validate_json(reply.content)) == serial[number % len(serial)] for number, reply in answers)
    grown = (peak[0] - before) / 1024**2
    print(
        f"| {name} | {count} | {status[200]} | {status[429]} | {count - status[200] - status[429]} | {equal} of {len(answers)} "
        f"| {seconds:.0f} s | {60 * len(answers) / seconds:.0f} | {grown:.0f} MB |",
        flush=True,
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--questions", type=int, default=20)
    arguments = parser.parse_args()
    count = arguments.requests
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        questions = world.make("test", arguments.questions, folder / "clips")
        start = time.perf_counter()
        with Session("tiny", cache=folder / "serial") as session:
            serial = [
                content(espresso.ask(each.visuals[0], each.text, options=each.options, session=session)) for each in questions
            ]
        print(f"serial: {60 * len(questions) / (time.perf_counter() - start):.0f} answers per minute, models loaded in that time")
        print("| | requests | answered | 429 | lost or failed | equal to serial | time | answers per minute | memory grown by |")
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        with server(folder / "cache") as (address, pid):
            measure("all at once", address, pid, questions, serial, count)
            measure("again, cached captions", address, pid, questions, serial, count)
        with server(folder / "cache", "--at-once", "1", "--waiting", "10") as (address, pid):
            measure("one place, ten may wait", address, pid, questions, serial, count)


if __name__ == "__main__":
    main()
