"""Frames ranked by a reasoner of which it is known what it needs to see."""

import asyncio

import numpy as np
import pytest

from agents.answer.context import AnswerContext
from espresso import media
from espresso.errors import DataError
from espresso.models import Completion
from espresso.schema import Caption, Frame
from eval.selection.ranked import MIN_GAIN, rank_frames
from tests.eval.conftest import Double


class Looker(Double):
    """Finds the answer the likelier the more of the frames it needs are shown. needs: times in seconds -> gain in nats."""

    def __init__(self, needs):
        super().__init__("2.0s: nothing of that kind.")
        self.needs = needs

    async def chat(self, messages, *, choices=None, **wishes):
        if not choices:
            return await super().chat(messages, **wishes)
        self.asked.append(messages)
        told = "".join(part for message in messages for part in message.content if isinstance(part, str))
        right = 0.05 * np.exp(sum(gain for time, gain in self.needs.items() if f"{time:.1f}" in told.split("\n")[0]))
        rest = (1 - right) / (len(choices) - 1)
        return Completion(
            choices[0], None, {each: np.log(right if each == self.answer else rest) for each in choices}, right, 1, 1, 1
        )


@pytest.fixture
def rank(questions, roles, session):
    """Rank the first question's frames, captioned as if each showed something else unless said otherwise."""
    question = questions[0]
    clip = media.open(question.visuals[0])
    frames = [Frame(index=index, time=float(clip.times[index])) for index in range(5, 50, 5)]

    def rank(needs, texts=None, options=question.options):
        roles.reasoner = Looker({frames[place].time: gain for place, gain in needs.items()})
        roles.reasoner.answer = question.answer
        captions = [Caption(frame=frame, text=text) for frame, text in zip(frames, texts or "abcdefghi", strict=True)]
        asked = question.without_truth().model_copy(update={"options": options})
        context = AnswerContext(session=session, visuals=[clip])
        found = asyncio.run(rank_frames(asked, question.answer, captions, context))
        return [frames.index(frame) for frame in found]

    return rank


def test_the_frames_that_help_are_found_and_no_others(rank):
    assert rank({4: 1.0}) == [4]
    assert rank({2: 0.9, 7: 0.5}) == [2, 7]
    assert rank({0: 0.5, 3: 0.6, 8: 0.7}) == [0, 3, 8]


def test_a_frame_that_gains_too_little_is_left_out(rank):
    assert rank({2: 1.0, 7: MIN_GAIN / 2}) == [2]


def test_of_neighbours_with_one_caption_the_middle_one_is_tried(rank):
    assert rank({4: 1.0, 5: 1.0}, texts="abcdddefg") == [4]


def test_no_more_frames_than_a_selector_may_choose(rank):
    assert len(rank(dict.fromkeys(range(9), 0.3))) == 4


def test_an_open_question_cannot_be_ranked(rank):
    with pytest.raises(DataError, match="it has none"):
        rank({}, options=None)
