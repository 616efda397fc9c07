"""The world as a benchmark: its questions are made once, its evidence is checked against what was drawn."""

import pytest

from espresso.datasets import bench, world
from espresso.errors import DataError
from espresso.schema import Answer, Evidence


def told(question, evidence):
    answer = Answer(
        question=question.asked(), text="", confidence=0, evidence=Evidence(text=evidence), strategy="all", profile="tiny"
    )
    return world.facts(question, answer)


def test_fewer_questions_are_the_first_of_more(questions):
    made = []
    assert world.questions("test", 2, lambda done, total: made.append(done)) == questions[:2]
    assert made == []


def test_the_reference_evidence_is_true(questions):
    for question in questions:
        assert told(question, question.truth.evidence) == [True] * len(question.truth.facts)


def test_a_true_act_at_another_time_is_false(questions):
    question = questions[0]
    late = question.truth.spans[0].end + 0.2
    assert told(question, f"{late:.1f}s: {question.truth.facts[0]}.") == [False]


def test_evidence_that_tells_no_fact_has_none_to_check(questions):
    assert told(questions[0], "nothing seen.") == []


def test_an_unknown_benchmark_is_refused_with_a_suggestion():
    with pytest.raises(DataError, match="Did you mean world"):
        bench("wrold")
