"""Positions: things stay in the frame, move smoothly, and disappear when they leave."""

import numpy as np
import pytest

from espresso.world import sprites, story


@pytest.mark.parametrize("index", range(15))
def test_boxes_lie_in_the_frame(index):
    drawn = story("test", index)
    for time in np.arange(0, drawn.duration, 0.25):
        for sprite in sprites(drawn, float(time)):
            x0, y0, x1, y1 = sprite.box(224)
            assert 0 <= x0 <= x1 <= 224
            assert 0 <= y0 <= y1 <= 224


def test_a_thing_that_leaves_is_not_visible_at_the_end():
    leaving = [story("test", index) for index in range(60)]
    checked = 0
    for drawn in leaving:
        last = drawn.beats[-1]
        if last.verb == "leaves":
            checked += 1
            assert last.doer in [sprite.thing for sprite in sprites(drawn, (last.start + last.end) / 2)]
            assert last.doer not in [sprite.thing for sprite in sprites(drawn, drawn.duration)]
    assert checked
