"""Picking frames: the most relevant ones, spread over time."""

import numpy as np
import pytest

from agents.ranking.pick import pick

TIMES = [float(second) for second in range(20)]


def test_the_most_likely_frame_comes_first_and_the_next_one_is_not_its_neighbour():
    relevance = np.zeros(20)
    relevance[[7, 8, 15]] = 3.0, 2.9, 1.0
    assert pick(relevance, TIMES, 2) == [7, 15]


def test_a_likely_neighbour_is_picked_before_an_unlikely_frame_far_away():
    relevance = np.full(20, -6.0)
    relevance[[7, 9]] = 3.0, 2.9
    assert pick(relevance, TIMES, 2) == [7, 9]


def test_equally_likely_frames_are_spread_over_the_clip():
    picked = sorted(pick(np.zeros(20), TIMES, 4))
    assert min(np.diff(picked)) >= 4


def test_a_frame_near_one_that_was_taken_counts_less_and_the_taken_one_is_not_picked_again():
    relevance = np.zeros(20)
    relevance[[7, 8, 15]] = 3.0, 2.9, 1.0
    assert pick(relevance, TIMES, 1, taken=[7.0]) == [15]
    assert 7 not in pick(relevance, TIMES, 20, taken=[7.0])


def test_extreme_values_overflow_nothing():
    with np.errstate(all="raise", under="ignore"):
        assert pick(np.array([-1e4, 1e4]), [0.0, 1.0], 2) == [1, 0]


def test_of_a_run_that_says_the_same_one_frame_is_picked():
    same = np.array([False, *[True] * 9, False, *[True] * 9])
    assert len(pick(np.random.default_rng(0).random(20), TIMES, 8, same=same)) == 2


@pytest.mark.parametrize("count", [0, 1])
def test_no_frame_and_one_frame(count):
    assert pick(np.zeros(count), TIMES[:count], 4) == list(range(count))


def test_frames_outside_of_the_ranked_windows_are_never_picked():
    assert pick(np.array([-np.inf, 1.0, -np.inf]), [0.0, 1.0, 2.0], 3) == [1]
