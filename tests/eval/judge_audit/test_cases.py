"""The cases of an audit: correct, perturbed and injected answers to every question."""

import asyncio

from agents.judge import CRITERIA, JudgeResult
from espresso.schema import Verdict
from eval.judge_audit.cases import by_question, correct_cases, make_cases
from eval.judge_audit.wordings import load_wordings

COUNT = 4


def test_the_same_arguments_give_the_same_cases():
    assert make_cases(COUNT) == make_cases(COUNT)
    assert make_cases(COUNT) != make_cases(COUNT, seed=1)
    assert make_cases(COUNT) != make_cases(COUNT, split="train")


def test_cases_are_grouped_by_question_in_order():
    cases = make_cases(COUNT)
    groups = by_question(cases)
    assert [case for group in groups for case in group] == cases
    assert len(groups) == COUNT
    assert all(len({case.question.id for case in group}) == 1 for group in groups)


def test_the_correct_answers_of_a_question_are_its_reference_and_a_paraphrase():
    for group in by_question(make_cases(COUNT)):
        reference, paraphrase = correct_cases(group)
        assert reference.variant.answer == reference.question.answer != paraphrase.variant.answer
        assert paraphrase.variant.kind == "right"


def test_a_correct_and_a_wrong_answer_come_with_every_kind_of_injection():
    kinds = sorted(load_wordings("test").injections)
    for group in by_question(make_cases(COUNT)):
        injected = [case.variant for case in group if case.variant.injection]
        correct = [variant.injection for variant in injected if variant.kind == "right"]
        wrong = [variant.injection for variant in injected if variant.kind in ("wrong option", "wrong order")]
        assert sorted(correct) == sorted(wrong) == kinds
        assert len(injected) == 2 * len(kinds)


def test_scoring_a_case_returns_a_new_one_with_the_result():
    class Judge:
        async def score(self, question, reference, answer):
            assert (question, reference, answer) == (case.question.text, case.question.answer, case.variant.answer)
            return JudgeResult(verdict=Verdict(**dict.fromkeys(CRITERIA, 7)))

    case = make_cases(1)[0]
    scored = asyncio.run(case.score_with(Judge()))
    assert (case.overall, scored.overall) == (None, 7)
    assert scored.variant == case.variant


def test_an_unscored_case_has_no_overall_score():
    class Judge:
        async def score(self, *_):
            return JudgeResult(verdict=None, faults=("no reply",))

    assert asyncio.run(make_cases(1)[0].score_with(Judge())).overall is None
