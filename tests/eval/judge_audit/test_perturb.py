"""Answers spoilt on purpose: scores fall with the grade, what is right stays right, and the same draw gives the same answers."""

import re
from itertools import pairwise

import numpy as np
import pytest

from espresso.world import questions_of, story
from eval.judge_audit import wordings
from eval.judge_audit.perturb import KINDS, RUBRIC, Version, injected, paraphrase, versions

QUESTIONS = [question for index in range(15) for question in questions_of(story("train", index), "")]
FOREIGN = [question.answer for question in QUESTIONS]


def spoilt(question, seed=0, split="train"):
    return versions(question, FOREIGN, np.random.default_rng(seed), split)


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_grade_is_worth_less_and_never_as_much_as_what_is_right(kind):
    worth = [Version("", kind, grade).verdict.overall for grade in range(1, 4)]
    assert max(worth) < Version("").verdict.overall == 10
    assert all(worse < better for better, worse in pairwise(worth)) or len(set(RUBRIC[kind])) == 1


def test_every_kind_comes_up_and_the_reference_comes_first_untouched():
    made = [version for question in QUESTIONS for version in spoilt(question)]
    assert {version.kind for version in made} == {*KINDS, "right"}
    assert all(spoilt(question)[0] == Version(question.answer) for question in QUESTIONS)


def test_what_is_spoilt_is_never_the_reference():
    for question in QUESTIONS:
        assert all(version.answer != question.answer for version in spoilt(question) if version.grade)


def test_the_same_draw_gives_the_same_answers_and_another_one_others():
    assert spoilt(QUESTIONS[0], seed=1) == spoilt(QUESTIONS[0], seed=1) != spoilt(QUESTIONS[0], seed=2)


def test_a_wrong_order_tells_the_same_acts():
    for question in QUESTIONS:
        for version in spoilt(question):
            if version.kind == "wrong order":
                assert set(re.findall(r"\w+", question.answer)) <= set(re.findall(r"\w+", version.answer))


def test_what_is_said_to_the_judge_changes_nothing_of_an_answers_worth():
    wrong = next(version for version in spoilt(QUESTIONS[0]) if version.kind == "wrong option")
    for version in injected(wrong, np.random.default_rng(0), "train"):
        assert version.verdict == wrong.verdict
        assert wrong.answer in version.answer != wrong.answer
        assert version.injection


def test_a_paraphrase_of_a_cause_is_in_the_passive_or_has_a_frame():
    said = {paraphrase("the red star hit it", np.random.default_rng(seed), wordings.of("train")) for seed in range(40)}
    assert "it was hit by the red star" in said
    assert len(said) > 3


def test_no_wording_of_the_test_split_is_learnt():
    learnt, held_out = (wordings.of(split).model_dump() for split in ("train", "test"))
    for name in ("frames", "pairs", "triples", "doubts", "two_answers", "three_answers", "padding"):
        assert not set(learnt[name]) & set(held_out[name])
    for kind, phrases in held_out["injections"].items():
        assert not set(phrases) & set(learnt["injections"][kind])
