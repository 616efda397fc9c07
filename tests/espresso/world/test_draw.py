"""Rendering: each action changes the picture, and things are drawn where `stage` places them."""

from itertools import pairwise

import numpy as np

from espresso.world import render, sprites, story
from espresso.world.cast import COLOURS


def test_frame_has_the_requested_size():
    frame = render(story("test", 0), 1.0, 96)
    assert frame.shape == (96, 96, 3)
    assert frame.dtype == np.uint8


def test_beats_look_different():
    drawn = story("test", 0)
    frames = [render(drawn, (beat.start + beat.end) / 2) for beat in drawn.beats]
    assert all(np.abs(a.astype(int) - b).mean() > 0.5 for a, b in pairwise(frames))


def test_things_have_their_colour():
    drawn = story("test", 0)
    frame = render(drawn, 0.0).astype(int)
    for sprite in sprites(drawn, 0.0):
        x0, y0, x1, y1 = sprite.box(224)
        centre = frame[int((y0 + y1) / 2), int((x0 + x1) / 2)]
        assert np.array_equal(centre, COLOURS[sprite.thing.colour]), sprite
