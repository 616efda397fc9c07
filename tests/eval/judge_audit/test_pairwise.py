"""Findings from pairs: order bias, self-preference, and choices next to those of people."""

import asyncio
from types import SimpleNamespace

import pytest

from agents.judge import CRITERIA, JudgeResult, PairResult
from espresso.schema import Question, Verdict
from eval.judge_audit.cases import make_cases
from eval.judge_audit.human_preferences import HumanPair
from eval.judge_audit.pairwise import NO_REFERENCE, RunAnswers, compare_human_pairs, order_bias, self_preference

OPTIONS = ("the red star", "the blue square", "the green circle")


class Judge:
    """A judge that scores by `score(answer)` and compares by `compare(first, second)`."""

    name = "the judge"

    def __init__(self, *, score=None, compare=None):
        self.scores, self.compares_by, self.references = score, compare, set()

    async def score(self, question, reference, answer):
        overall = self.scores(answer)
        if overall is None:
            return JudgeResult(verdict=None, faults=("no reply",))
        return JudgeResult(verdict=Verdict(**dict.fromkeys(CRITERIA, overall)))

    async def compare(self, question, reference, first, second):
        self.references.add(reference)
        return self.compares_by(reference, first, second)


def by_position(*_):
    """Prefer whatever is shown first."""
    return PairResult("tie", True, (), (), ("first", "first"))


def by_reference(reference, first, second):
    """Prefer the reference, in both orders."""
    return PairResult("first", False, (), (), ("first", "second")) if first == reference else pytest.fail("reference is first")


def unreadable(*_):
    return PairResult(None, False, (), ("cannot parse the reply",))


def ignore(progress):
    pass


def answered(name, text, answer="the red star", options=OPTIONS):
    question = Question(id=name, visuals=(f"{name}.mp4",), text="What moves?", options=options, answer=answer)
    return SimpleNamespace(question=question, answer=SimpleNamespace(text=text))


def test_a_judge_that_prefers_the_first_position_has_full_order_bias():
    bias = asyncio.run(order_bias(Judge(compare=by_position), make_cases(3), ignore))
    assert (bias.flips.n, bias.flips.share, bias.first.share) == (6, 1, 1)


def test_a_judge_that_looks_at_the_content_has_no_order_bias():
    bias = asyncio.run(order_bias(Judge(compare=by_reference), make_cases(3), ignore))
    assert (bias.flips.share, bias.first.share) == (0, 0.5)


def test_pairs_without_a_readable_reply_are_left_out_of_the_order_bias():
    bias = asyncio.run(order_bias(Judge(compare=unreadable), make_cases(3), ignore))
    assert bias.flips.n == bias.first.n == 0
    assert (bias.flips.low, bias.flips.high) == (0, 1)


def test_a_correct_answer_is_compared_with_the_reference_and_a_wrong_one_with_another_wrong_option():
    seen = []
    judge = Judge(score=lambda answer: seen.append(answer) or 5)
    answers = RunAnswers("run", "a model", [answered("a", "the red star"), answered("b", "the blue square")])
    asyncio.run(self_preference(judge, answers, ignore))
    assert sorted(zip(seen[::2], seen[1::2], strict=True)) == [
        ("the blue square", "the green circle"),
        ("the red star", "the red star"),
    ]


def test_the_difference_is_that_of_the_runs_answer_to_the_other():
    judge = Judge(score={"the blue square": 8, "the green circle": 3}.get)
    answers = RunAnswers("run", "the judge", [answered(name, "the blue square") for name in "abc"])
    preference = asyncio.run(self_preference(judge, answers, ignore))
    assert (preference.difference.n, preference.difference.mean) == (3, 5)
    assert preference.own
    other = RunAnswers("run", "another model", answers.samples)
    assert not asyncio.run(self_preference(judge, other, ignore)).own


def test_answers_without_a_counterpart_or_a_score_are_left_out_of_the_preference():
    judge = Judge(score={"the blue square": 8, "the green circle": None, "the red star": 9}.get)
    two_options = answered("a", "the blue square", options=OPTIONS[:2])
    unscored = answered("b", "the blue square")
    preference = asyncio.run(self_preference(judge, RunAnswers("run", "m", [two_options, unscored]), ignore))
    assert preference.difference.n == 0


def test_the_choices_of_a_judge_are_added_to_those_of_people():
    judge = Judge(compare=lambda *_: PairResult("second", False, (), ()))
    pair = HumanPair("1", "Why?", "one", "two", ("first",), {"recorded": "first"})
    (compared,) = asyncio.run(compare_human_pairs(judge, [pair], ignore))
    assert compared.judges == {"recorded": "first", "the judge": "second"}
    assert judge.references == {NO_REFERENCE}
    assert asyncio.run(compare_human_pairs(Judge(compare=unreadable), [pair], ignore)) == [pair]
