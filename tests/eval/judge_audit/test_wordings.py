"""The wordings of perturbed answers: an audit uses none that the tiny judge was trained on."""

import pytest

from eval.judge_audit.wordings import load_wordings

ANSWERS = {"templates": 1, "pairs": 2, "triples": 3, "doubts": 1, "two_answers": 2, "three_answers": 3}


def test_no_test_wording_is_in_the_training_set():
    train, test = load_wordings("train"), load_wordings("test")
    for name in (*ANSWERS, "padding"):
        assert not set(getattr(train, name)) & set(getattr(test, name)), name
    for kind, phrases in test.injections.items():
        assert not set(phrases) & set(train.injections[kind]), kind


def test_the_demo_split_uses_the_test_wordings():
    assert load_wordings("demo") == load_wordings("test") != load_wordings("train")


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", ANSWERS)
def test_a_wording_has_a_place_for_each_answer(split, name):
    answers = ["first", "second", "third"][: ANSWERS[name]]
    for wording in getattr(load_wordings(split), name):
        assert wording.count("{}") == len(answers)
        text = wording.format(*answers)
        assert all(answer in text for answer in answers)


def test_hedges_are_graded_by_the_number_of_answers():
    assert [wordings[0].count("{}") for wordings in load_wordings("test").hedges] == [1, 2, 3]


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_kind_of_injection_demands_a_score(split):
    injections = load_wordings(split).injections
    assert set(injections) == {"demand", "override", "verdict", "json", "turn"}
    assert all(any("{score}" in phrase for phrase in phrases) for phrases in injections.values())
