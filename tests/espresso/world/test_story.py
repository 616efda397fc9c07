"""Composed stories: visible beats, needed spans, causes and a consistent lamp."""

import pytest

from espresso import world
from espresso.world import questions_of


@pytest.fixture(scope="module")
def test_stories():
    return [world.story("test", index) for index in range(150)]


def test_needed_beats_are_visible_for_more_than_a_second(test_stories):
    for story in test_stories:
        for question in questions_of(story, "clip.mp4"):
            for span, fact in zip(question.truth.spans, question.truth.facts, strict=True):
                assert span.end - span.start > 1.0
                assert span.end < story.duration
                assert story.caption((span.start + span.end) / 2) == fact


def test_most_questions_need_two_frames_or_more(test_stories):
    spans = [len(question.truth.spans) for story in test_stories for question in questions_of(story, "clip.mp4")]
    assert sum(count >= 2 for count in spans) / len(spans) > 0.9


def test_the_lamp_is_only_switched_to_the_other_state(test_stories):
    for story in test_stories:
        lit = story.lamp
        for beat in story.beats:
            if beat.verb == "lamp":
                assert (beat.value == "on") != lit
                lit = beat.value == "on"


def test_a_cause_directly_precedes_its_effect(test_stories):
    causes = [pair for story in test_stories for pair in story.causes]
    assert causes
    assert all(later == earlier + 1 for earlier, later in causes)
