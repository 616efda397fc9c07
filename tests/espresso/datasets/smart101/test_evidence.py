"""The evidence for the answer to a generated puzzle."""

import pytest

from espresso.datasets import get_dataset
from espresso.datasets.smart101.evidence import MOST_THINGS, evidence_of, said, true_facts
from espresso.schema import Answer, Evidence


@pytest.mark.parametrize(
    ("value", "fact"), [("3", "green3"), ("1 2", "green1 2"), ("-4", "green-4"), ("s", "green s"), ("red 2", "green red 2")]
)
def test_a_number_follows_its_name_at_once(value, fact):
    assert said("green", value) == fact


def test_things_of_the_question_come_first_and_few_are_said():
    shown = {"stars": {name: number for number, name in enumerate("hgfedcba")} | {"red": 9}}
    assert evidence_of("How many red stars are a lot?", shown) == "shown: red9, a7, b6, c5, d4, e3."
    assert evidence_of("Is it coloured?", shown).count(",") == MOST_THINGS - 1
    assert evidence_of("Where?", {"arrows": [("a", "b"), ("c", "a")]}) == "shown: arrows a b, arrows c a."


def answered(question, evidence):
    return Answer(
        question=question.without_truth(), text="1", confidence=None, evidence=Evidence(text=evidence), strategy="uniform",
        profile="smart101",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("shown: {first}, nothing5.", (True, False)),
        ("shown: nothing5.", (False,)),
        ("{first}.", ()),
        ("", ()),
    ],
)
def test_facts_are_compared_with_those_of_the_picture(given, expected):
    question = get_dataset("smart101").load("test", 1, None).questions[0]
    first = question.truth.evidence.removeprefix("shown: ").split(", ")[0]
    answer = answered(question, given.format(first=first))
    assert true_facts(question, answer) == expected
    assert true_facts(question.without_truth(), answer) == ()


def test_the_true_evidence_is_true():
    for question in get_dataset("smart101").load("test", 62, None).questions:
        facts = true_facts(question, answered(question, question.truth.evidence))
        assert facts
        assert all(facts)
