"""Measure the pipeline on vLLM servers: questions a minute one at a time and many at once, against the bare requests.

    uv run python -m benchmarks.serving [--questions 60] [--profile tiny] [--naive]

Four passes over the same questions of the procedural world: (a) `espresso.ask`, one question after the other; (b)
`espresso.ask_many`; (warm) `ask_many` again, where captions are known; (c) the requests that (b) sent, pictures encoded and all,
sent again in their order with nothing of ours between them, as many at a time to each model as the profile lets be under way.
Each of (a), (b) and (c) finds servers just started, with no prompt in their caches, and one question is asked first that does
not count. (b) / (a) is what concurrency is worth, (c) / (b) what the pipeline costs. A question's own seconds are those of its
nodes: with many under way, what it waited for others is in them. "cores" are those that servers and pipeline kept busy: on a
machine whose cores are all busy in (b), concurrency is worth no more than what (a) left idle.

Each start of the servers is timed to the first answer. --naive times vLLM's own two starts as well, one server after the other.
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
from espresso import profiles
from espresso.cache import Cache
from espresso.datasets import bench
from espresso.models.vllm import launch as serving
from espresso.profiles import Profile, ServerRole, served
from espresso.schema import Answer, Question

PORT = 8431

Sent = tuple[str, dict[str, Any]]
"""Where a request went, and what it was."""


def main() -> None:
    """Start, ask, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--naive", action="store_true")
    options = parser.parse_args()
    local = profiles.load(options.profile)
    profile = served(local, f"{serving.HOST}:{PORT}")
    first, *questions = bench("world").load("test", options.questions + 1, None).questions
    if options.naive:
        _naive(local)
    print(f"{'pass':20} {'questions':>9} {'a minute':>9} {'cores':>6} {'p50':>7} {'p95':>7}")
    with tempfile.TemporaryDirectory() as folder, _started(local, profile, first):
        cache = Cache(Path(folder) / "one")
        clock = Clock()
        alone = [_answer(question, profile, cache) for question in questions]
        one = clock.read("(a) one at a time", alone)
    with tempfile.TemporaryDirectory() as folder, _started(local, profile, first):
        cache, sent = Cache(Path(folder) / "many"), list[Sent]()
        clock = Clock()
        with _recorded(sent):
            together = _answers(questions, profile, cache)
        many = clock.read("(b) ask_many", together)
        clock = Clock()
        warm = clock.read("(warm) ask_many", _answers(questions, profile, cache))
    with _started(local, profile, first):
        clock = Clock()
        asyncio.run(_send(sent, profile))
        bare = clock.read("(c) bare requests", together, own=False)
    print(f"(c) are {len(sent)} requests")
    print(f"(b) / (a) {many / one:.1f}   overhead of the pipeline {bare / many - 1:.0%}   (warm) / (b) {warm / many:.1f}")
    same = sum(here.choice == there.choice for here, there in zip(alone, together, strict=True))
    print(f"same choice in (a) and (b): {same} of {len(questions)}")


def _answer(question: Question, profile: Profile, cache: Cache) -> Answer:
    return espresso.ask(question.visuals, question.text, options=question.options, profile=profile, cache=cache)


def _answers(questions: Sequence[Question], profile: Profile, cache: Cache) -> list[Answer]:
    answers = []
    for answer in espresso.ask_many(questions, profile=profile, cache=cache):
        if isinstance(answer, Exception):
            raise answer
        answers.append(answer)
    return answers


@contextmanager
def _started(local: Profile, profile: Profile, first: Question) -> Iterator[None]:
    """Start the servers and ask one question, which reads the clients' own libraries in too."""
    began = time.perf_counter()
    with serving.running(serving.plan(local, PORT)), tempfile.TemporaryDirectory() as folder:
        ready = time.perf_counter() - began
        _answer(first, profile, Cache(Path(folder)))
        print(f"servers ready in {ready:.0f} s, first answer after {time.perf_counter() - began:.0f} s")
        yield


@contextmanager
def _recorded(sent: list[Sent]) -> Iterator[None]:
    """Write down each chat completion that is asked for, and let it go on."""
    create = AsyncCompletions.create

    async def recorded(self: AsyncCompletions, **request: Any) -> Any:
        sent.append((str(self._client.base_url), request))
        return await create(self, **request)

    AsyncCompletions.create = recorded  # type: ignore[method-assign]
    try:
        yield
    finally:
        AsyncCompletions.create = create  # type: ignore[method-assign]


async def _send(sent: Sequence[Sent], profile: Profile) -> None:
    """Send all, no more at a time to an address than the profile's clients do."""
    models = {role.base_url: role.concurrency for role in profile.roles.values() if isinstance(role, ServerRole)}
    clients = {}
    for address, places in models.items():
        clients[f"{address}/"] = openai.AsyncOpenAI(base_url=address, api_key="none"), asyncio.Semaphore(places)

    async def send(address: str, request: dict[str, Any]) -> None:
        client, places = clients[address]
        async with places:
            await client.chat.completions.create(**request)

    await asyncio.gather(*(send(*each) for each in sent))
    for client, _ in clients.values():
        await client.close()


class Clock:
    """Time and processor time of this process, its servers and decoders, from now on."""

    def __init__(self) -> None:
        self._began, self._busy = time.perf_counter(), _processor_seconds()

    def read(self, name: str, answers: Sequence[Answer], *, own: bool = True) -> float:
        """Print a pass that gave these answers, with their own seconds unless they are not of this pass; questions a second."""
        seconds, busy = time.perf_counter() - self._began, _processor_seconds() - self._busy
        line = f"{name:20} {len(answers):9} {60 * len(answers) / seconds:9.0f} {busy / seconds:6.2f}"
        if own:
            p50, p95 = np.percentile([sum(answer.usage.seconds.values()) for answer in answers], [50, 95])
            line += f" {p50:6.2f}s {p95:6.2f}s"
        print(line, flush=True)
        return len(answers) / seconds


def _processor_seconds() -> float:
    this = psutil.Process()
    times = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def _naive(local: Profile) -> None:
    """Start each server as vLLM's documentation says, one after the other, until it answers."""
    began = time.perf_counter()
    for server in serving.plan(local, PORT):
        arguments = [word for word in server.arguments if word not in ("--worker-cls", serving.WORKER)]
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
    print(f"vLLM's own start, one server after the other: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
