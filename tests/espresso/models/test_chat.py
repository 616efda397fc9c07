"""Messages, options and replies of a chat model."""

from types import SimpleNamespace

import pytest
from pydantic import BaseModel

from espresso.errors import ModelError
from espresso.models import Completion, GenerateConfig, Message
from espresso.models.chat import length_fault, parse_reply, usable_text


class Pick(BaseModel):
    frames: list[int]


def test_a_message_counts_its_pictures(picture):
    assert Message("user", ("0.0 s", picture, "1.5 s", picture, "Who moves?")).pictures == 2
    assert Message("user", ("Who moves?",)).pictures == 0


def test_a_picture_is_encoded_once(picture):
    assert picture.url.startswith("data:image/")
    assert picture.url is picture.url


def test_equal_options_make_equal_configs():
    assert GenerateConfig(choices=["A", "B"]) == GenerateConfig(choices=("A", "B"))
    assert hash(GenerateConfig(choices=["A", "B"])) == hash(GenerateConfig(choices=("A", "B")))
    assert GenerateConfig(choices=["A", "B"]) != GenerateConfig(choices=["B", "A"])
    assert GenerateConfig(choices=[]) == GenerateConfig()


def test_an_unknown_option_is_an_error():
    with pytest.raises(TypeError, match="max_token"):
        GenerateConfig(max_token=5)


@pytest.mark.parametrize("text", ["frames 1 and 3", '{"frames": "all"}', '{"frames": [1'])
def test_a_reply_that_does_not_match_the_schema_is_none(text):
    assert parse_reply(Pick, text) is None
    assert parse_reply(Pick, '{"frames": [1, 3]}') == Pick(frames=[1, 3])
    assert parse_reply(Pick, 'Here:\n```json\n{"frames": [1, 3]}\n```') == Pick(frames=[1, 3])


def test_a_reply_with_a_fault_is_an_error(says_hello):
    assert usable_text(Completion(" hello "), says_hello, "answer") == "hello"
    with pytest.raises(ModelError, match="small gave no answer: the reply was cut off at 9 tokens; raise `extra_tokens`"):
        usable_text(Completion("hel", fault=length_fault(9)), says_hello, "answer")


@pytest.fixture
def says_hello():
    return SimpleNamespace(name="small")
