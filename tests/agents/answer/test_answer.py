"""The answer node: options by letter or text, free answers, probabilities."""

import pytest

from espresso.errors import ModelError
from tests.agents.answer.conftest import OPTIONS


def test_options_can_be_weighed_by_their_texts_instead_of_letters(ask, roles, profile, says):
    roles.reasoner = says("the square moves right", "right")
    answer = ask(profile=profile.model_copy(update={"choose": "texts"}))
    assert roles.reasoner.wishes[-1]["choices"] == OPTIONS
    assert (answer.choice, answer.text) == ("B", "right")
    assert answer.options_probability["B"] == pytest.approx(answer.confidence) == pytest.approx(0.8)
    assert set(answer.options_probability) == {"A", "B", "C", "D"}


def test_probabilities_are_told_for_every_option(ask):
    answer = ask()
    assert answer.options_probability["B"] == pytest.approx(answer.confidence) == pytest.approx(0.8)
    assert sum(answer.options_probability.values()) == pytest.approx(1)


def test_without_options_the_answer_is_free_text(ask, roles, says):
    roles.reasoner = says("the square moves right", " to the right ")
    answer = ask(options=None)
    assert (answer.text, answer.choice, answer.confidence, answer.options_probability) == ("to the right", None, 0.5, {})


def test_an_answer_that_was_refused_is_an_error_with_the_reason(ask, roles):
    roles.reasoner.faults = {1: "it refused: 'No.'"}
    with pytest.raises(ModelError, match=r"gave no answer: it refused: 'No\.'"):
        ask(options=None)
