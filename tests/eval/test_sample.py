"""One sample: what is asked, what is scored, and what is recorded if something fails."""

import numpy as np
import pytest

from espresso import media
from espresso.errors import MediaError, ServerDownError
from espresso.schema import Answer, Evidence, Question
from eval.protocols import option_order
from eval.sample import run_sample
from eval.scorers import score
from eval.solvers import make_solver
from eval.task import EvalTask

QUESTION = Question(id="q", visuals=("a.mp4",), text="What?", options=("one", "two", "three"), answer="two")


def answered(question, text="two"):
    return Answer(question=question, text=text, confidence=None, evidence=Evidence(text=""), strategy="given", profile="tiny")


async def solve(question, session):
    return answered(question)


async def test_the_options_are_asked_and_scored_in_the_recorded_order(session):
    asked, scored = [], []

    async def solver(question, session):
        asked.append(question)
        return answered(question)

    async def scorer(question, answer):
        scored.append(question)
        return await score(question, answer)

    sample = await run_sample(QUESTION, EvalTask(solver, scorer, "oracle", seed=3), session)
    shown = tuple(QUESTION.options[position] for position in sample.order)
    assert sample.order == option_order(QUESTION, 3)
    assert asked[0].options == scored[0].options == shown
    assert sample.question == QUESTION
    assert (sample.scores.correct, sample.answer.strategy) == (True, "oracle")


async def test_a_known_error_is_recorded_in_its_own_words(session):
    async def solver(question, session):
        raise MediaError("a.mp4: no such file.")

    sample = await run_sample(QUESTION, EvalTask(solver, score, "blind"), session)
    assert (sample.error, sample.traceback, sample.answer) == ("a.mp4: no such file.", None, None)
    assert not sample.scores.correct


async def test_a_clip_that_the_models_do_not_know_is_an_error_that_names_a_profile(session, tmp_path):
    clip = tmp_path / "plain.mp4"
    media.write_video(clip, (np.full((64, 64, 3), 8 * number, np.uint8) for number in range(16)), 8)
    question = QUESTION.model_copy(update={"visuals": (str(clip),)})
    for strategy in ("selector", "uniform", "random"):
        sample = await run_sample(question, EvalTask(make_solver(strategy), score, strategy), session)
        assert "plain.mp4: profile tiny" in sample.error
        assert "--profile laptop (download:" in sample.error
        assert (sample.answer, sample.traceback) == (None, None)
    assert session.roles.reasoner.asked == []


async def test_an_unexpected_error_keeps_its_traceback(session):
    async def solver(question, session):
        raise KeyError("frames")

    sample = await run_sample(QUESTION, EvalTask(solver, score, "blind"), session)
    assert sample.error == "KeyError: 'frames'"
    assert "in solver" in sample.traceback


async def test_an_answer_that_cannot_be_scored_is_kept(session):
    async def scorer(question, answer):
        raise MediaError("no")

    sample = await run_sample(QUESTION, EvalTask(solve, scorer, "blind"), session)
    assert (sample.answer.text, sample.error) == ("two", "no")


async def test_a_server_that_is_down_is_raised(session):
    async def solver(question, session):
        raise ServerDownError("down")

    with pytest.raises(ServerDownError):
        await run_sample(QUESTION, EvalTask(solver, score, "blind"), session)
