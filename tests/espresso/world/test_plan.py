"""Stories by index: deterministic, all tasks in turn, and splits that share nothing."""

from collections import Counter
from hashlib import sha256

import pytest

from espresso.schema import Task
from espresso.world import questions_of, story

CLIPS = range(150)


@pytest.fixture(scope="module")
def test_stories():
    return [story("test", index) for index in CLIPS]


def test_stories_never_change(test_stories):
    """Trained models and published results depend on the exact questions."""
    content = [
        (question.id, question.text, question.options, question.answer, question.truth.evidence)
        for story in test_stories
        for question in questions_of(story, "clip.mp4")
    ]
    assert sha256(repr(content).encode()).hexdigest()[:16] == "6ecf845eeee6d6a3"


def test_all_tasks_take_turns(test_stories):
    tasks = Counter(question.task for story in test_stories for question in questions_of(story, "clip.mp4"))
    assert set(tasks) == set(Task)
    assert set(tasks.values()) == {len(CLIPS) // 15 * 2}


def test_held_out_beats_occur_in_every_test_clip_and_in_no_train_clip(test_stories):
    def held_out(story):
        return any(beat.held_out for beat in story.beats)

    assert all(held_out(story) for story in test_stories)
    assert not any(held_out(story("train", index)) for index in range(600))


def test_train_and_test_share_no_layout(test_stories):
    assert not {story.layout for story in test_stories} & {story("train", index).layout for index in CLIPS}
