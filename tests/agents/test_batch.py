"""Many questions at once: order, errors in place, nothing captioned twice, room that is kept, and an end that cancels."""

import asyncio
import os
import subprocess
import sys
from contextlib import aclosing

import pytest
from forked import in_child

import espresso
from agents.batch import bounded
from espresso.schema import Question


@pytest.fixture
def questions(clip):
    return [Question(id=str(number), visuals=(str(clip),), text=f"What is it, number {number}?") for number in range(6)]


async def numbered(number):
    await asyncio.sleep(0.01 * (5 - number % 5))
    return number


async def test_results_come_in_the_items_order_whoever_is_done_first():
    assert [number async for number in bounded(range(20), numbered, limit=7)] == list(range(20))


async def test_no_more_items_are_taken_than_there_is_room_for():
    taken, given = [], []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    async for number in bounded(items(), numbered, limit=3):
        given.append(number)
        assert len(taken) - len(given) <= 6  # three under way, three that wait for their turn


async def test_no_more_are_under_way_than_are_allowed_and_a_slow_one_stops_no_other():
    begun, ended = [], []

    async def work(number):
        begun.append(number)
        assert len(begun) - len(ended) <= 3
        while number == 0 and len(ended) < 5:
            await asyncio.sleep(0)
        ended.append(number)
        return number

    first = await anext(results := bounded(range(20), work, limit=3))
    assert first == 0
    assert ended == [1, 2, 3, 4, 5, 0]
    await results.aclose()


async def test_who_leaves_early_stops_what_is_under_way():
    ended = []

    async def slow(number):
        try:
            await asyncio.sleep(0 if number == 0 else 60)
        except asyncio.CancelledError:
            ended.append(number)
            raise

    async with aclosing(bounded(range(9), slow, limit=4)) as results:
        await anext(results)
    assert ended == [1, 2, 3]


def test_answers_come_in_order_and_a_clip_is_captioned_once(questions, roles, session):
    answers = list(espresso.ask_many(questions, session=session))
    assert [answer.question.text for answer in answers] == [question.text for question in questions]
    assert [answer.question.id for answer in answers] == list("012345")
    assert len(roles.captioner.asked) == 6  # uniform-6 of one clip


def test_an_error_stands_in_the_place_of_its_answer(questions, session, tmp_path):
    questions[2] = questions[2].model_copy(update={"visuals": (str(tmp_path / "gone.mp4"),)})
    answers = list(espresso.ask_many(questions, session=session))
    assert [isinstance(answer, espresso.MediaError) for answer in answers] == [False, False, True, False, False, False]


def test_a_clip_whose_first_question_fails_is_answered_for_the_others(questions, session):
    questions[0] = questions[0].model_copy(update={"text": " "})
    first, *others = espresso.ask_many(questions, session=session)
    assert isinstance(first, espresso.QuestionError)
    assert all(isinstance(answer, espresso.Answer) for answer in others)


async def test_the_first_error_is_raised_at_once_and_cancels_the_rest():
    ended = []

    async def work(number):
        try:
            await asyncio.sleep(0.01 if number == 2 else 60)
        except asyncio.CancelledError:
            ended.append(number)
            raise
        raise ValueError("two")

    with pytest.raises(ValueError, match="two"):
        [each async for each in bounded(range(9), work, limit=4)]
    assert ended == [0, 1, 3]


async def test_it_works_where_a_loop_is_running_and_can_be_left(questions, session):
    many = espresso.ask_many(questions, session=session, at_once=2)
    assert next(many).question.id == "0"
    many.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_wait_for_the_answers_of_its_parent(session, questions):
    answers = espresso.ask_many(questions, session=session)
    next(answers)

    def go_on():
        try:
            next(answers)
        except espresso.QuestionError as error:
            return str(error)

    assert "asked by the process that forked this one" in in_child(go_on)
    assert in_child(lambda: [answers.close(), "closed"]) == [None, "closed"]
    assert in_child(lambda: len(list(espresso.ask_many(questions[:2], session=session)))) == 2
    assert len(list(answers)) == len(questions) - 1


def test_a_program_ends_although_answers_are_left(tmp_path):
    program = f"""
import espresso
from espresso import world
from pathlib import Path
many = espresso.ask_many([each.without_truth() for each in world.make("val", 4, Path({str(tmp_path)!r}))], profile="tiny")
print(next(many).question.id)
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=240)


def test_an_unexpected_exception_stands_in_the_place_of_its_answer_too(questions, roles, session, caplog):
    async def fails(messages, **wishes):
        if "number 3" in str(messages):
            raise IndexError("list index out of range")
        return await chat(messages, **wishes)

    chat, roles.reasoner.chat = roles.reasoner.chat, fails
    answers = list(espresso.ask_many([*questions, None], session=session))
    kinds = [isinstance(answer, espresso.EspressoError) for answer in answers]
    assert kinds == [False, False, False, True, False, False, True]
    assert str(answers[3]) == "IndexError: list index out of range"
    assert isinstance(answers[3].__cause__, IndexError)
    assert "Traceback" in caplog.text
