"""Intervals: Wilson's where questions are unrelated, wider where they share a video, never without width."""

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp, ttest_rel

from eval.stats import agreement, difference, interval, mean_interval


@pytest.mark.parametrize(("right", "n"), [(3, 10), (290, 420), (0, 7), (30, 30)])
def test_with_a_video_for_each_question_it_is_wilsons(right, n):
    low, high = interval([i < right for i in range(n)], range(n))
    wilson = binomtest(right, n).proportion_ci(0.95, "wilson")
    assert (low, high) == pytest.approx((wilson.low, wilson.high), abs=1e-6)


def test_questions_that_stand_and_fall_with_their_video_count_as_one():
    videos = [i < 60 for i in range(100)]
    pairs = [right for right in videos for _ in range(2)]
    low, high = interval(pairs, [i // 2 for i in range(200)])
    assert (low, high) == pytest.approx(interval(videos, range(100)), abs=1e-3)


def test_a_single_video_tells_next_to_nothing():
    low, high = interval([True] * 50, ["one"] * 50)
    assert low < 0.25
    assert high == 1


def test_it_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        hard = rng.beta(3, 2, 60)  # how easy each of 60 videos is: 0.6 on average
        low, high = interval((rng.random((60, 3)) < hard[:, None]).ravel().tolist(), np.repeat(np.arange(60), 3).tolist())
        covered += low <= 0.6 <= high
    assert 925 <= covered <= 975


def test_a_paired_difference_of_unrelated_questions_is_the_t_tests():
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(400) < 0.8, rng.random(400) < 0.7
    mean, low, high, p = difference(ours.tolist(), theirs.tolist(), range(400))
    known = ttest_rel(ours.astype(float), theirs.astype(float))
    assert mean == pytest.approx(ours.mean() - theirs.mean())
    assert (low, high) == pytest.approx(tuple(known.confidence_interval(0.95)), abs=1e-3)
    assert p == pytest.approx(known.pvalue, abs=1e-2)


def test_questions_about_one_video_count_as_one_in_a_difference_too():
    ours, theirs = [i < 60 for i in range(100)], [20 <= i < 70 for i in range(100)]
    alone = difference(ours, theirs, range(100))
    twice = difference([*ours, *ours], [*theirs, *theirs], [*range(100), *range(100)])
    assert twice == pytest.approx(alone, abs=1e-3)


def test_runs_that_answer_alike_do_not_differ():
    assert difference([True, False, True], [True, False, True], "abc") == (0, 0, 0, 1)
    assert difference([True, True], [False, False], "aa") == (1, -1, 1, 1)


def test_the_interval_of_a_mean_of_unrelated_values_is_the_t_interval():
    values = np.random.default_rng(0).normal(6, 1.5, 40)
    known = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values.tolist(), range(40), within=(1, 10)) == pytest.approx(tuple(known))


def test_values_that_go_with_their_video_count_as_one_in_a_mean():
    values = np.random.default_rng(0).normal(6, 1.5, 40).tolist()
    alone = mean_interval(values, range(40), within=(1, 10))
    assert mean_interval([*values, *values], [*range(40), *range(40)], within=(1, 10)) == pytest.approx(alone)


def test_a_mean_of_a_single_video_is_anywhere_and_none_leaves_the_scale():
    assert mean_interval([5, 6], "aa", within=(1, 10)) == (1, 10)
    assert mean_interval([10, 10, 9], "abc", within=(1, 10))[1] == 10


def test_agreement_is_krippendorffs_alpha():
    assert agreement([[1, 1], [5, 5], [9, 9]]) == 1
    # The data of Krippendorff's "Computing Krippendorff's Alpha-Reliability", 2011, section C; its interval alpha is .849.
    nan = None
    raters = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
        [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
    ]
    things = [[value for value in values if value is not None] for values in zip(*raters, strict=True)]
    assert agreement(things) == pytest.approx(0.849, abs=5e-4)


def test_there_is_no_agreement_to_speak_of_without_two_ratings_or_any_difference():
    assert agreement([[1], [2]]) is agreement([[5, 5], [5, 5]]) is agreement([]) is None
