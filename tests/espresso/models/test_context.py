"""Over the budget, frames are thinned evenly and the trace hears of it."""

import pytest

from espresso.errors import ModelError
from espresso.models import Message, TokenCount, fit_frames


class Counter:
    """A model that counts a token a word."""

    name = "counter"

    def __init__(self, context_length):
        self.context_length = context_length

    def count_tokens(self, messages):
        return TokenCount(sum(len(part.split()) for message in messages for part in message.content), 0)


def ask(frames):
    return [Message("user", (" ".join(["frame"] * len(frames)) + " why is that",))]


def test_what_fits_stays_whole():
    assert fit_frames(ask, range(5), Counter(10), max_tokens=2) == ([0, 1, 2, 3, 4], ask(range(5)), None)


def test_too_many_frames_are_thinned_evenly_to_the_most_that_fit():
    frames, messages, note = fit_frames(ask, range(16), Counter(10), max_tokens=3)
    assert frames == [2, 6, 10, 14]
    assert messages == ask(frames)
    assert note == "4 of 16 frames fit the context of 10 tokens; the others were left out evenly"


def test_a_question_that_fits_alone_goes_without_frames():
    frames, _, note = fit_frames(ask, range(16), Counter(5), max_tokens=2)
    assert frames == []
    assert note.startswith("0 of 16")


@pytest.mark.parametrize("frames", [[], range(4)])
def test_a_question_over_the_context_is_refused(frames):
    with pytest.raises(
        ModelError, match="counter: the question alone, with a reply of 4 tokens, is over its context of 5 tokens"
    ):
        fit_frames(ask, frames, Counter(5), max_tokens=4)
