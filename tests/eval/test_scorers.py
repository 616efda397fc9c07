"""Scores of single answers."""

import pytest

from espresso.schema import Answer, CoreFrame, Evidence, Frame, Question, Span, Truth
from eval.scorers import score

SPANS = ((1, 2), (4, 5))


def question(spans=SPANS):
    truth = Truth(spans=tuple(Span(start=a, end=b) for a, b in spans), facts=("fact",) * len(spans), evidence="")
    return Question(id="q", visuals=("q.mp4",), text="?", options=("yes", "no"), answer="yes", truth=truth)


def answer(text="yes", times=()):
    frames = tuple(CoreFrame(frame=Frame(index=round(12 * time), time=time), why="") for time in times)
    return Answer(
        question=question().without_truth(), text=text, confidence=0.5, evidence=Evidence(text=""), core_frames=frames,
        strategy="selector", profile="tiny",
    )  # fmt: skip


async def test_precision_is_of_frames_and_recall_of_spans():
    scores = await score(question(), answer(times=(1.2, 1.8, 3.0)))
    assert scores.core_precision == pytest.approx(2 / 3)
    assert scores.core_recall == 0.5
    assert scores.core_reach == pytest.approx(1.5 / 3)
    assert (scores.hits, scores.needed) == (1, 2)


async def test_reach_is_the_share_between_the_first_and_the_last_needed_frame():
    reach = [(await score(question(), answer(times=times))).core_reach for times in ((0.5, 5), (1.6, 4.4), (6, 7), ())]
    assert reach == [1, pytest.approx(2.8 / 3), 0, 0]
    one = question(spans=((1, 2),))
    assert [(await score(one, answer(times=times))).core_reach for times in ((1.9,), (0, 3))] == [1, 0]


async def test_without_core_frames_there_is_no_precision_and_nothing_found():
    scores = await score(question(), answer())
    assert scores.core_precision is None
    assert scores.core_recall == 0


async def test_without_ground_truth_only_the_answer_is_scored():
    scores = await score(question().model_copy(update={"truth": None}), answer("no", times=(1,)))
    assert not scores.correct
    assert scores.core_recall is None


async def test_a_written_reply_is_scored_strictly_and_by_the_authors_rule():
    scores = await score(question(), answer("Answer: A"), protocol="written")
    assert (scores.correct, scores.chosen, scores.official) == (True, "yes", True)
    scores = await score(question(), answer("Answer: B"), protocol="written")
    assert (scores.correct, scores.chosen, scores.official) == (False, "no", True)


async def test_a_written_reply_that_names_no_option_is_wrong():
    scores = await score(question(), answer("perhaps"), protocol="written")
    assert (scores.correct, scores.chosen, scores.official) == (False, None, False)
