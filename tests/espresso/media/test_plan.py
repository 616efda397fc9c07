"""Sampling plans: their text form, candidates and even spacing."""

import numpy as np
import pytest

from espresso import media
from espresso.errors import MediaError
from espresso.media.plan import by_motion, candidates, distinct


@pytest.mark.parametrize(
    "text", ["uniform-16", "fps-2-64", "fps-0.5-8", "adaptive-16", "adaptive-16-repeats", "fps-2-64-repeats"]
)
def test_plan_round_trips_through_its_text(text: str):
    assert str(media.parse_plan(text)) == text


@pytest.mark.parametrize("text", ["", "uniform", "uniform-0", "uniform--1", "uniform-4-repeats", "fps-0-8", "fps-2", "all-3"])
def test_invalid_plan_is_rejected(text: str):
    with pytest.raises(MediaError):
        media.parse_plan(text)


def test_number_of_candidates_is_bounded():
    times = np.arange(0, 7200, 1 / 24)
    assert len(candidates(media.adaptive(16), times, 7200.0)) <= 128


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, []), (1, [4]), (2, [2, 6]), (3, [1, 4, 7]), (4, [1, 3, 5, 7]), (9, [*range(9)]), (20, [*range(9)])],
)
def test_evenly_spaced_takes_the_middles_of_equal_stretches(count, expected):
    assert media.evenly_spaced(range(9), count) == expected


def test_motion_decides_how_many_frames_of_a_second_are_kept():
    def thumbs(step):
        return np.stack([np.full((2, 2, 3), number * step, np.uint8) for number in range(8)])

    assert by_motion(thumbs(0)) == [0, 4]
    assert by_motion(thumbs(2)) == [0, 2, 4, 6]
    assert by_motion(thumbs(20)) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_slow_changes_add_up_to_a_distinct_frame():
    thumbs = np.stack([np.full((2, 2, 3), 4 * number, np.uint8) for number in range(7)])
    assert distinct(thumbs, [*range(7)]) == [0, 3, 6]
