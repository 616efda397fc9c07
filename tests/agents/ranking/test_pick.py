"""Picking frames: the most relevant ones, spread over time."""

import numpy as np
import pytest

from agents.ranking.pick import pick

TIMES = [float(second) for second in range(20)]


def test_the_most_relevant_frame_comes_first_and_the_next_one_keeps_its_distance():
    relevance = np.zeros(20)
    relevance[[7, 8, 15]] = 3.0, 2.9, 1.0
    assert pick(relevance, TIMES, 2) == [7, 15]


def test_a_budget_that_the_distances_do_not_allow_is_not_filled():
    assert len(pick(np.arange(3.0), [0.0, 0.1, 9.0], 3)) == 2


def test_frames_that_were_taken_keep_their_distance_too():
    relevance = np.zeros(20)
    relevance[[7, 8, 15]] = 3.0, 2.9, 1.0
    assert pick(relevance, TIMES, 1, taken=[7.0]) == [15]


def test_of_a_run_that_says_the_same_one_frame_is_picked():
    same = np.array([False, *[True] * 9, False, *[True] * 9])
    assert len(pick(np.random.default_rng(0).random(20), TIMES, 8, same=same)) == 2


@pytest.mark.parametrize("count", [0, 1])
def test_no_frame_and_one_frame(count):
    assert pick(np.zeros(count), TIMES[:count], 4) == list(range(count))


def test_frames_outside_of_the_ranked_windows_are_never_picked():
    assert pick(np.array([-np.inf, 1.0, -np.inf]), [0.0, 1.0, 2.0], 3) == [1]
