"""How options are put, and what a reply comes down to."""

import pytest

from espresso import profiles
from espresso.models.embedder import make_embedder
from espresso.schema import Question
from eval.protocols import apply_protocol, first_letter_option, nearest_option, option_order, strict_option

OPTIONS = ("it stops", "a cat enters", "it turns red", "Ann leaves")
QUESTION = Question(id="q", visuals=("a.mp4",), text="What then?", options=OPTIONS)


def test_only_the_open_protocol_hides_the_options():
    assert apply_protocol(QUESTION, "choice") == apply_protocol(QUESTION, "written") == QUESTION
    assert apply_protocol(QUESTION, "open") == QUESTION.model_copy(update={"options": None})


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
        ("**B**", "a cat enters", "a cat enters"),
        ("Option B is correct.", "a cat enters", "a cat enters"),
        ("(B) a cat enters", "a cat enters", "a cat enters"),
        ("**Answer:** (C) it turns red", "it turns red", "it stops"),
        ("Option B: it stops", None, "a cat enters"),
        ("B is wrong", None, "a cat enters"),
        ("Because it stops", None, "a cat enters"),
        ("B or C", None, "a cat enters"),
        ("B: it stops", None, "a cat enters"),
        ("E", None, None),
        ("nothing of it", None, None),
        ("", None, None),
    ],
)
def test_a_written_reply_is_read_strictly_and_by_the_authors_rule(reply, strictly, officially):
    assert strict_option(reply, OPTIONS) == strictly
    assert first_letter_option(reply, OPTIONS) == officially


async def test_a_free_answer_comes_down_to_the_nearest_option():
    embedder = make_embedder(profiles.load("tiny").embedder)
    options = ("red square", "blue circle", "green star")
    assert await nearest_option("Blue circle.", options, embedder) == "blue circle"
    assert await nearest_option("a blue circle hits it", options, embedder) == "blue circle"


def test_the_order_of_options_depends_on_seed_and_question_alone():
    orders = {seed: option_order(QUESTION, seed) for seed in range(20)}
    assert orders == {seed: option_order(QUESTION.model_copy(), seed) for seed in range(20)}
    assert len(set(orders.values())) > 5
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders.values())
