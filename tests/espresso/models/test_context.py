"""Frames are left out evenly if a prompt exceeds the context, and the trace says so."""

import pytest

from espresso.errors import ModelError
from espresso.models import Message, TokenCount, fit_frames


class WordCounter:
    """A model that counts one token per word."""

    name = "counter"

    def __init__(self, context_length):
        self.context_length = context_length

    def count_tokens(self, messages):
        return TokenCount(sum(len(part.split()) for message in messages for part in message.content), 0)


def ask(frames):
    return [Message("user", (" ".join(["frame"] * len(frames)) + " why is that",))]


def test_frames_that_fit_are_all_kept():
    assert fit_frames(ask, range(5), WordCounter(10), max_tokens=2) == ([0, 1, 2, 3, 4], ask(range(5)), None)


def test_as_many_evenly_spaced_frames_as_fit_are_kept():
    frames, messages, note = fit_frames(ask, range(16), WordCounter(10), max_tokens=3)
    assert frames == [2, 6, 10, 14]
    assert messages == ask(frames)
    assert note == "only 4 of 16 frames fit the context of 10 tokens; kept evenly spaced ones"


def test_a_question_that_fits_only_alone_is_asked_without_frames():
    frames, _, note = fit_frames(ask, range(16), WordCounter(5), max_tokens=2)
    assert frames == []
    assert note.startswith("only 0 of 16")


@pytest.mark.parametrize("frames", [[], range(4)])
def test_a_question_that_exceeds_the_context_is_an_error(frames):
    with pytest.raises(
        ModelError, match="counter: the question alone, with a reply of 4 tokens, exceeds its context of 5 tokens"
    ):
        fit_frames(ask, frames, WordCounter(5), max_tokens=4)
