"""The select node: the selector's replies, good and bad."""

import pytest

from espresso.profiles import LocalRanker
from tests.agents.answer.conftest import QUESTION, note
from tests.agents.conftest import BagOfWords

CAPTIONS = ("a tree", "a tree and grass", "the square goes right", "a house", "a house and a door", "a lamp")
RANKER = LocalRanker(backend="transformers", model="words", same_above=0.99)


def test_neighbours_with_equal_captions_are_read_once_by_the_one_in_their_middle(ask, roles, says):
    roles.captioner = says("a red square", "a red square", "a red square", "a blue one", "a blue one", "a red square")
    roles.selector = says('{"frames": [1, 2, 3]}')
    answer = ask()
    assert [core.frame for core in answer.core_frames] == [answer.frames[1], answer.frames[4], answer.frames[5]]


def test_a_selector_that_invents_frames_falls_back_to_even_ones(ask, roles, says):
    roles.selector = says('{"frames": [99]}')
    answer = ask()
    assert len(answer.core_frames) == 4
    assert "the selector named no sampled frame: '{\"frames\": [99]}'" in note(answer, "select")


def test_a_selector_that_talks_falls_back_to_even_frames(ask, roles, says):
    roles.selector = says("I think frame two")
    answer = ask(frames=3)
    assert len(answer.core_frames) == 3
    assert "I think frame two" in note(answer, "select")


def test_what_the_selector_names_is_cleaned_cut_and_put_in_order(ask, roles, says):
    roles.selector = says('{"frames": [5, 99, 5, 1, 0, 3, 2]}')
    answer = ask(frames=3)
    assert [core.frame for core in answer.core_frames] == [answer.frames[0], answer.frames[2], answer.frames[4]]
    assert note(answer, "select") is None


def test_the_selector_reads_the_question_and_the_captions(ask, roles):
    ask()
    ((message,),) = roles.selector.asked
    assert QUESTION in message.content[0]
    assert message.content[0].count("a red square") == 6


def test_a_selector_that_is_cut_off_falls_back_to_even_frames_with_the_reason(ask, roles, says):
    roles.selector = says("", faults={"all": "its thoughts were cut off at 128 tokens"})
    answer = ask(frames=3)
    assert len(answer.core_frames) == 3
    assert "the selector gave no frames: its thoughts were cut off at 128 tokens" in note(answer, "select")


@pytest.fixture
def ranked(roles, profile, says):
    """Captions of which the third answers the question, and a profile that ranks them."""
    roles.captioner, roles.ranker = says(*CAPTIONS), BagOfWords()
    return lambda by: profile.model_copy(update={"ranker": RANKER, "select_by": by})


def test_the_ranker_chooses_without_a_language_model(ask, roles, ranked):
    answer = ask(profile=ranked("embedding"))
    assert answer.frames[2] in [core.frame for core in answer.core_frames]
    assert len(answer.core_frames) < 4
    assert not roles.selector.asked
    assert next(step.model for step in answer.trace if step.node == "select") == "words"


def test_captions_are_embedded_when_they_are_written_and_a_second_question_embeds_no_caption(ask, roles, ranked):
    ask(profile=ranked("embedding"))
    roles.ranker.texts.clear()
    ask("What is the square?", profile=ranked("embedding"))
    assert roles.ranker.texts == ["What is the square?"]


def test_the_language_model_reads_what_the_ranker_rates_highest(ask, roles, ranked, monkeypatch):
    monkeypatch.setattr("agents.answer.select.SHORTLIST", 2)
    roles.selector.replies[:] = ['{"frames": [3]}']
    answer = ask(profile=ranked("hybrid"), frames=1)
    assert [core.frame for core in answer.core_frames] == [answer.frames[2]]
    ((message,),) = roles.selector.asked
    assert message.content[0].count("a ") < 5


def test_captions_beyond_the_context_are_ranked_instead_of_thinned_out(ask, roles, ranked):
    roles.selector.context_length = 128 + 22
    roles.selector.replies[:] = ['{"frames": [3]}']
    answer = ask(profile=ranked("llm"))
    assert [core.frame for core in answer.core_frames] == [answer.frames[2]]
    assert "the most relevant ones are read" in note(answer, "select")


def test_frames_that_did_not_suffice_are_not_chosen_again(ask, roles, ranked, says):
    roles.reasoner = says("nothing", "the square goes right", "B")
    answer = ask(profile=ranked("embedding"), frames=1)
    assert len(answer.core_frames) == 2
