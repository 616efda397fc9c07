"""How options are put, and what a reply comes down to."""

import pytest

from espresso import profiles
from espresso.models.embedder import embedding
from espresso.schema import Question
from eval.protocols import asked, nearest, official, strict

OPTIONS = ("it stops", "a cat enters", "it turns red", "Ann leaves")
QUESTION = Question(id="q", visuals=("a.mp4",), text="What then?", options=OPTIONS)


def test_a_choice_keeps_its_options_and_the_other_protocols_hand_none_over():
    assert asked(QUESTION, "choice") == QUESTION
    assert asked(QUESTION, "open").options is asked(QUESTION, "written").options is None
    assert asked(QUESTION, "open").text == QUESTION.text
    assert "\n(B) a cat enters\n" in asked(QUESTION, "written").text


@pytest.mark.parametrize(
    ("reply", "strictly", "officially"),
    [
        ("B", "a cat enters", "a cat enters"),
        ("(B)", "a cat enters", "a cat enters"),
        ("B. a cat enters", "a cat enters", "a cat enters"),
        ("b", "a cat enters", None),
        ("Answer: B", "a cat enters", "it stops"),
        ("The correct answer is (C): it turns red.", "it turns red", "it turns red"),
        ("A cat enters.", "a cat enters", "it stops"),
        ("B or C", None, "a cat enters"),
        ("B: it stops", None, "a cat enters"),
        ("E", None, None),
        ("nothing of it", None, None),
        ("", None, None),
    ],
)
def test_a_written_reply_is_read_strictly_and_by_the_authors_rule(reply, strictly, officially):
    assert strict(reply, OPTIONS) == strictly
    assert official(reply, OPTIONS) == officially


async def test_a_free_answer_comes_down_to_the_nearest_option():
    embedder = embedding(profiles.load("tiny").embedder)
    options = ("red square", "blue circle", "green star")
    assert await nearest("Blue circle.", options, embedder) == "blue circle"
    assert await nearest("a blue circle hits it", options, embedder) == "blue circle"
