"""The stories: what they promise about splits, tasks, answers and truth."""

from collections import Counter

import pytest

from espresso.schema import Task
from espresso.world import questions_of, story

CLIPS = range(150)


@pytest.fixture(scope="module")
def test_stories():
    return [story("test", index) for index in CLIPS]


def test_the_same_index_gives_the_same_story():
    assert [beat.fact for beat in story("test", 7).beats] == [beat.fact for beat in story("test", 7).beats]


def test_all_fourteen_tasks_take_turns(test_stories):
    tasks = Counter(question.task for told in test_stories for question in questions_of(told, "clip.mp4"))
    assert set(tasks) == set(Task)
    assert set(tasks.values()) == {len(CLIPS) // 15 * 2}


def test_train_clips_hold_nothing_that_is_held_out_and_every_test_clip_does(test_stories):
    def held_out(told):
        return any(beat.held_out for beat in told.beats)

    assert all(held_out(told) for told in test_stories)
    assert not any(held_out(story("train", index)) for index in range(600))


def test_train_and_test_share_no_layout(test_stories):
    assert not {told.layout for told in test_stories} & {story("train", index).layout for index in CLIPS}


def test_every_needed_act_can_be_seen_for_a_second_and_fits_the_clip(test_stories):
    for told in test_stories:
        for question in questions_of(told, "clip.mp4"):
            for span, fact in zip(question.truth.spans, question.truth.facts, strict=True):
                assert span.end - span.start > 1.0
                assert span.end < told.duration
                assert told.caption((span.start + span.end) / 2) == fact


def test_most_questions_need_two_frames_or_more(test_stories):
    spans = [len(question.truth.spans) for told in test_stories for question in questions_of(told, "clip.mp4")]
    assert sum(count >= 2 for count in spans) / len(spans) > 0.9


def test_a_lamp_is_never_turned_the_way_it_is(test_stories):
    for told in test_stories:
        lit = told.lamp
        for beat in told.beats:
            if beat.verb == "lamp":
                assert (beat.value == "on") != lit
                lit = beat.value == "on"


def test_causes_join_an_act_to_the_next_one(test_stories):
    causes = [pair for told in test_stories for pair in told.causes]
    assert causes
    assert all(later == earlier + 1 for earlier, later in causes)
