"""Edited stories differ from the story in one thing only."""

import numpy as np
import pytest

from espresso.world import edited, edits, render, story


@pytest.mark.parametrize("index", [0, 7, 15, 17])
def test_an_edit_changes_the_picture_where_the_thing_is_and_nowhere_else(index):
    whole = story("train", index)
    beat = whole.beats[0]
    time = (beat.start + beat.end) / 2
    for thing, edit, instruction in edits(whole):
        other = edited(whole, edit)
        assert [str(each) for each in whole.cast if each not in other.cast] == [str(thing)]
        assert str(thing) in instruction
        assert other.duration == whole.duration
        before, after = (render(each, time, 224).astype(int) for each in (whole, other))
        changed = (np.abs(before - after).sum(2) > 0).mean()
        assert changed < 0.15
        assert np.array_equal(render(edited(whole, edit), time, 224), after)


@pytest.mark.parametrize(("split", "held_out"), [("train", False), ("test", True)])
def test_held_out_things_appear_in_edits_of_the_test_split_only(split, held_out):
    cast = [
        each
        for index in range(60)
        for _, edit, _ in edits(story(split, index))
        for each in edited(story(split, index), edit).cast
    ]
    assert any(thing.held_out for thing in cast) is held_out


def test_things_that_turn_are_not_edited():
    for index in range(60):
        whole = story("train", index)
        turning = {beat.doer.shape for beat in whole.beats if beat.verb == "turns"}
        assert not turning & {thing.shape for thing, _, _ in edits(whole)}


def test_another_way_of_writing_is_refused():
    with pytest.raises(ValueError, match="unpack"):
        edited(story("train", 0), "red-circle")
