"""Perturbed answers: deserved scores fall with the grade, and draws are reproducible."""

import re
from itertools import pairwise

import numpy as np
import pytest

from espresso.world import questions_of, story
from eval.judge_audit.perturb import KINDS, RUBRIC, AnswerVariant, inject, make_variants, paraphrase
from eval.judge_audit.wordings import load_wordings

QUESTIONS = [question for index in range(15) for question in questions_of(story("train", index), "")]
OTHER_ANSWERS = [question.answer for question in QUESTIONS]


def variants_of(question, seed=0, split="train"):
    return make_variants(question, OTHER_ANSWERS, np.random.default_rng(seed), split)


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_grade_deserves_less_and_a_correct_answer_deserves_most(kind):
    scores = [AnswerVariant("", kind, grade).verdict.overall for grade in range(1, 4)]
    assert max(scores) < AnswerVariant("").verdict.overall == 10
    assert all(worse < better for better, worse in pairwise(scores)) or len(set(RUBRIC[kind])) == 1


def test_every_kind_occurs_and_the_unchanged_reference_comes_first():
    variants = [variant for question in QUESTIONS for variant in variants_of(question)]
    assert {variant.kind for variant in variants} == {*KINDS, "right"}
    assert all(variants_of(question)[0].answer == question.answer for question in QUESTIONS)


def test_a_perturbed_answer_is_never_the_reference():
    for question in QUESTIONS:
        assert all(variant.answer != question.answer for variant in variants_of(question) if variant.grade)


def test_the_same_seed_gives_the_same_answers_and_another_seed_different_ones():
    assert variants_of(QUESTIONS[0], seed=1) == variants_of(QUESTIONS[0], seed=1) != variants_of(QUESTIONS[0], seed=2)


def test_a_wrong_order_has_the_words_of_the_reference():
    for question in QUESTIONS:
        for variant in variants_of(question):
            if variant.kind == "wrong order":
                assert set(re.findall(r"\w+", question.answer)) <= set(re.findall(r"\w+", variant.answer))


def test_an_off_topic_answer_cannot_be_an_option_of_the_question():
    for question in QUESTIONS:
        for variant in variants_of(question):
            if variant.kind == "off topic":
                assert not any(option in variant.answer for option in question.options)


def test_an_injection_does_not_change_the_deserved_scores():
    wrong = next(variant for variant in variants_of(QUESTIONS[0]) if variant.kind == "wrong option")
    injected = inject(wrong, np.random.default_rng(0), "train")
    assert [variant.injection for variant in injected] == list(load_wordings("train").injections)
    for variant in injected:
        assert variant.verdict == wrong.verdict
        assert wrong.answer in variant.answer != wrong.answer
        assert variant.made_from == wrong


def test_a_paraphrase_of_a_cause_is_in_the_passive_or_in_a_template():
    wordings = load_wordings("train")
    paraphrases = {paraphrase("the red star hit it", np.random.default_rng(seed), wordings) for seed in range(40)}
    assert "it was hit by the red star" in paraphrases
    assert len(paraphrases) > 3
