"""A run that is killed, for real: processes that answer slowly, and kill -9 at random moments."""

import asyncio
import json
import multiprocessing
import os
import random
import signal
import sys
from pathlib import Path
from time import sleep

import pytest

from agents.session import Session
from espresso.datasets import world
from espresso.models import Roles
from eval.run import run
from tests.eval.conftest import Double

KILLS = 20
ANSWERS_A_LIFE = 2
ASKED = 42
"""More than all lives together can answer: each ends by a kill."""
ANSWER_S = 0.05


class Slow(Double):
    """Answers one question after the other, and hangs after so many."""

    def __init__(self, answers, knows):
        super().__init__("2.0s: nothing of that kind.", knows=knows)
        self.left, self.one_by_one = answers, asyncio.Lock()

    async def chat(self, messages, *, choices=None, **wishes):
        async with self.one_by_one:
            if choices:
                await asyncio.sleep(ANSWER_S if self.left else 3600)
                self.left -= 1
        return await super().chat(messages, choices=choices, **wishes)


def answer(folder, cache, answers=ASKED):
    """Ask by a model that knows every other answer, in a process of its own or in this one."""
    os.environ["ESPRESSO_CACHE"] = str(cache)
    known = {question.text: question.answer for question in world.questions("test", ASKED)[::2]}
    model = Slow(answers, known)
    return run("world", limit=ASKED, strategy="blind", session=Session("tiny", roles=Roles(model, model, model)), out=folder)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is for Unix")
def test_killed_at_twenty_random_moments_a_run_ends_as_if_it_had_not_been(cache_folder, tmp_path):
    whole, folder, moments = answer(tmp_path / "whole", cache_folder), tmp_path / "killed", random.Random(0)
    file = folder / "samples.jsonl"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["eval.run"])
    kept = []
    for number in range(KILLS):
        process = context.Process(target=answer, args=(folder, cache_folder, ANSWERS_A_LIFE))
        process.start()
        if number % 2:  # while it answers, else while it starts
            written = size(file)
            while process.is_alive() and size(file) <= written:
                sleep(ANSWER_S / 20)
        sleep(moments.uniform(0, 2 * ANSWER_S))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        kept.append(file.read_bytes().count(b"\n") if file.exists() else 0)
    assert kept == sorted(kept)
    assert kept[-1] >= KILLS // 2
    again = answer(folder, cache_folder)
    ids = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert sorted(ids) == sorted(question.id for question in world.questions("test", ASKED))
    assert again.metrics.model_copy(update={"seconds": 0}) == whole.metrics.model_copy(update={"seconds": 0})
    assert scores(folder) == scores(tmp_path / "whole")


def size(file):
    return file.stat().st_size if file.exists() else 0


def scores(folder: Path):
    rows = map(json.loads, (folder / "samples.jsonl").read_text().splitlines())
    return {row["id"]: (row["scores"], row["answer"]["text"]) for row in rows}
