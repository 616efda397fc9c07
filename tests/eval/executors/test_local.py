"""Samples run in this process: concurrently by clip, one after the other within a clip."""

import asyncio

import pytest

from espresso.errors import ServerDownError
from espresso.schema import Answer, Evidence, Question
from eval.executors import local
from eval.scorers import score
from eval.task import EvalTask


def task(solver):
    return EvalTask(solver=solver, scorer=score, strategy="blind")


def group(clip, count=2):
    return [Question(id=f"{clip}-{number}", visuals=(clip,), text="What?") for number in range(count)]


def answered(question):
    return Answer(question=question, text="it", confidence=None, evidence=Evidence(text=""), strategy="blind", profile="tiny")


async def test_clips_run_concurrently_and_the_questions_about_one_in_turn(session):
    running, most, kept = set(), 0, []

    async def solver(question, session):
        nonlocal most
        assert question.visuals not in running
        running.add(question.visuals)
        most = max(most, len(running))
        while most < 5:
            await asyncio.sleep(0)
        running.remove(question.visuals)
        return answered(question)

    groups = [group(f"{number}.mp4") for number in range(5)]
    async with asyncio.timeout(60):
        await local.run(groups, kept.append, task=task(solver), session=session)
    assert sorted(sample.id for sample in kept) == sorted(question.id for each in groups for question in each)
    assert most == 5


async def test_a_server_that_is_down_ends_the_run_at_once(session):
    async def solver(question, session):
        if question.id == "b-0":
            raise ServerDownError("down")
        await asyncio.sleep(60)

    async with asyncio.timeout(10):
        with pytest.raises(ServerDownError, match="down"):
            await local.run([group("a"), group("b")], print, task=task(solver), session=session)


async def test_what_keep_raises_ends_the_run(session):
    async def solver(question, session):
        return answered(question)

    def keep(sample):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        await local.run([group("a"), group("b")], keep, task=task(solver), session=session)
