"""The select node: the selector's replies, good and bad."""

import pytest
from PIL import Image

import espresso
from agents.session import Session
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


@pytest.fixture
def ask_about(clip, roles, profile, tmp_path):
    """Ask about the clip and two pictures."""
    pictures = []
    for number in range(2):
        pictures.append(str(tmp_path / f"{number}.png"))
        Image.new("RGB", (32, 32), (80 * number, 9, 9)).save(pictures[-1])

    def ask_about(count, **settings):
        with Session(profile, roles=roles) as session:
            return espresso.ask([clip, *pictures][:count], QUESTION, session=session, **settings)

    return ask_about


@pytest.mark.parametrize(("count", "limit", "visuals"), [(2, 4, [0, 0, 0, 1]), (2, 2, [0, 1]), (3, 3, [0, 1, 2]), (3, 2, [0, 1])])
def test_each_of_several_visuals_has_a_core_frame_as_far_as_the_budget_allows(ask_about, roles, says, count, limit, visuals):
    """The language model chooses frames of the first visual only."""
    roles.captioner = says(*"abcdefgh")
    roles.selector = says('{"frames": [1, 2, 3]}')
    answer = ask_about(count, frames=limit)
    assert [core.frame.visual for core in answer.core_frames] == visuals


def test_the_prompts_name_each_visual(ask_about, roles, says):
    roles.captioner = says(*"abcdefgh")
    roles.selector = says('{"frames": [1]}')
    ask_about(3)
    (message,) = roles.reasoner.asked[0]
    texts = [part for part in message.content if isinstance(part, str)]
    assert [text.split()[0] for text in texts if text.strip()[0] != "Q"] == ["first", "second", "3"]
