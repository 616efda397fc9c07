"""The select node: the selector's replies, good and bad."""

from tests.agents.answer.conftest import QUESTION, note


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
