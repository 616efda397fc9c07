"""Measure the pipeline on vLLM servers in questions per minute, sequentially and concurrently.

    uv run python -m benchmarks.serving [--questions 60] [--profile tiny] [--naive]

Four passes answer the same questions of the procedural world:

- (a) `espresso.ask`, one question after the other;
- (b) `espresso.ask_many`;
- (warm) `espresso.ask_many` again, with all captions cached;
- (c) the requests of (b), already encoded, sent again in the same order and concurrency without
  our pipeline.

(a), (b) and (c) start with new servers, so their prompt caches are empty, and with one question
that does not count. (b) / (a) is the gain from concurrency, (c) / (b) the overhead of the pipeline.
The seconds of a question (p50, p95) are those of its nodes, including the time that it waits for
others. "cores" is the number of cores that servers and pipeline keep busy: if (a) already keeps all
cores of a machine busy, concurrency gains nothing.

The start of the servers is timed up to the first answer. --naive also times how vLLM's
documentation starts two servers, one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import openai
import psutil
from openai.resources.chat.completions import AsyncCompletions

import espresso
from agents.session import Session
from espresso import profiles
from espresso.datasets import get_dataset
from espresso.models.vllm import launch
from espresso.profiles import Profile, ServerRole
from espresso.schema import Answer, Question

PORT = 8431

Request = tuple[str, dict[str, Any]]
"""Address and body of a request."""


def main() -> None:
    """Run all passes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=60, help="number of questions")
    parser.add_argument("--profile", default="tiny", help="profile with local models, which are served")
    parser.add_argument("--naive", action="store_true", help="also time vLLM's own start of the servers")
    options = parser.parse_args()
    local = profiles.load(options.profile)
    profile = profiles.at_address(local, f"{launch.HOST}:{PORT}")
    first, *questions = get_dataset("world").load("test", options.questions + 1, None).questions
    if options.naive:
        _time_naive_start(local)
    print(f"{'pass':20} {'questions':>9} {'per min':>9} {'cores':>6} {'p50':>7} {'p95':>7}")
    with _servers(local, profile, first), _new_session(profile) as session:
        timer = Timer()
        sequential = [_answer(question, session) for question in questions]
        a = timer.report("(a) ask", sequential)
    requests: list[Request] = []
    with _servers(local, profile, first), _new_session(profile) as session:
        timer = Timer()
        with _recorded(requests):
            concurrent = _answers(questions, session)
        b = timer.report("(b) ask_many", concurrent)
        timer = Timer()
        warm = timer.report("(warm) ask_many", _answers(questions, session))
    with _servers(local, profile, first):
        timer = Timer()
        asyncio.run(_send(requests, profile))
        c = timer.report("(c) requests alone", concurrent, latency=False)
    print(f"(c) sends {len(requests)} requests")
    print(f"(b) / (a) {b / a:.1f}   overhead of the pipeline {c / b - 1:.0%}   (warm) / (b) {warm / b:.1f}")
    same = sum(one.choice == other.choice for one, other in zip(sequential, concurrent, strict=True))
    print(f"same choice in (a) and (b): {same} of {len(questions)}")


@contextmanager
def _new_session(profile: Profile) -> Iterator[Session]:
    """Open a session with an empty cache."""
    with tempfile.TemporaryDirectory() as folder, Session(profile, cache=Path(folder)) as session:
        yield session


def _answer(question: Question, session: Session) -> Answer:
    return espresso.ask(question.visuals, question.text, options=question.options, session=session)


def _answers(questions: Sequence[Question], session: Session) -> list[Answer]:
    answers = []
    for answer in espresso.ask_many(questions, session=session):
        if isinstance(answer, Exception):
            raise answer
        answers.append(answer)
    return answers


@contextmanager
def _servers(local: Profile, profile: Profile, first: Question) -> Iterator[None]:
    """Start the servers and ask one question, which also imports the client's libraries."""
    start = time.perf_counter()
    with launch.running(launch.plan(local, PORT)):
        ready = time.perf_counter() - start
        with _new_session(profile) as session:
            _answer(first, session)
        print(f"servers ready in {ready:.0f} s, first answer after {time.perf_counter() - start:.0f} s")
        yield


@contextmanager
def _recorded(requests: list[Request]) -> Iterator[None]:
    """Record every request for a chat completion."""
    create = AsyncCompletions.create

    async def recorded(self: AsyncCompletions, **request: Any) -> Any:
        requests.append((str(self._client.base_url), request))
        return await create(self, **request)

    AsyncCompletions.create = recorded  # type: ignore[method-assign]
    try:
        yield
    finally:
        AsyncCompletions.create = create  # type: ignore[method-assign]


async def _send(requests: Sequence[Request], profile: Profile) -> None:
    """Send all requests with the concurrency of the profile."""
    concurrency = {role.base_url: role.concurrency for role in profile.roles.values() if isinstance(role, ServerRole)}
    clients = {}
    for address, limit in concurrency.items():
        clients[f"{address}/"] = openai.AsyncOpenAI(base_url=address, api_key="none"), asyncio.Semaphore(limit)

    async def send(address: str, request: dict[str, Any]) -> None:
        client, slots = clients[address]
        async with slots:
            await client.chat.completions.create(**request)

    await asyncio.gather(*(send(*each) for each in requests))
    for client, _ in clients.values():
        await client.close()


class Timer:
    """Measures wall time and CPU time of this process and its children (servers and decoders)."""

    def __init__(self) -> None:
        self._start, self._cpu = time.perf_counter(), _cpu_seconds()

    def report(self, name: str, answers: Sequence[Answer], *, latency: bool = True) -> float:
        """Print a line for a pass and return its questions per second.

        Args:
            name: name of the pass.
            answers: the answers of the pass.
            latency: whether to print the seconds of single questions.
        """
        seconds, cpu = time.perf_counter() - self._start, _cpu_seconds() - self._cpu
        line = f"{name:20} {len(answers):9} {60 * len(answers) / seconds:9.0f} {cpu / seconds:6.2f}"
        if latency:
            p50, p95 = np.percentile([sum(answer.usage.seconds.values()) for answer in answers], [50, 95])
            line += f" {p50:6.2f}s {p95:6.2f}s"
        print(line, flush=True)
        return len(answers) / seconds


def _cpu_seconds() -> float:
    this = psutil.Process()
    times = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def _time_naive_start(local: Profile) -> None:
    """Start each server as vLLM's documentation does, one after the other, until it answers."""
    start = time.perf_counter()
    for server in launch.plan(local, PORT):
        arguments = [word for word in server.arguments if word not in ("--worker-cls", launch.CPU_WORKER)]
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while process.poll() is None:
                try:
                    urlopen(f"{server.base_url}/models", timeout=2).close()
                    break
                except (URLError, OSError):
                    time.sleep(0.25)
        finally:
            process.terminate()
            process.wait()
    print(f"vLLM's own start, one server after the other: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
