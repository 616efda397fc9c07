"""Confidence intervals and measures of agreement, against known values."""

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp, ttest_rel

from eval.stats import (
    cohen_kappa,
    difference,
    interval,
    krippendorff_alpha,
    mean_interval,
    paired_bootstrap,
    rank_correlation,
    seeded_interval,
)


@pytest.mark.parametrize(("right", "n"), [(3, 10), (290, 420), (0, 7), (30, 30)])
def test_with_one_question_per_video_it_is_wilsons_interval(right, n):
    low, high = interval([i < right for i in range(n)], range(n))
    wilson = binomtest(right, n).proportion_ci(0.95, "wilson")
    assert (low, high) == pytest.approx((wilson.low, wilson.high), abs=1e-6)


def test_questions_with_the_same_outcome_per_video_count_as_one():
    videos = [i < 60 for i in range(100)]
    pairs = [right for right in videos for _ in range(2)]
    low, high = interval(pairs, [i // 2 for i in range(200)])
    assert (low, high) == pytest.approx(interval(videos, range(100)), abs=1e-3)


def test_a_single_video_gives_a_wide_interval():
    low, high = interval([True] * 50, ["one"] * 50)
    assert low < 0.25
    assert high == 1


def test_the_interval_covers_the_true_share_in_95_percent_of_samples():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        easy = rng.beta(3, 2, 60)  # share of correct answers for each of 60 videos, 0.6 on average
        low, high = interval((rng.random((60, 3)) < easy[:, None]).ravel().tolist(), np.repeat(np.arange(60), 3).tolist())
        covered += low <= 0.6 <= high
    assert 925 <= covered <= 975


def pairs_of_visuals(rng, visuals=60, pairs=120):
    """Statements about pairs of visuals, which other pairs have too; the difficulty is that of the visuals."""
    ease = rng.beta(3, 2, visuals)  # 0.6 on average
    drawn = np.array([rng.choice(visuals, 2, replace=False) for _ in range(pairs)])
    return (rng.random(pairs) < ease[drawn].mean(axis=1)).tolist(), drawn.tolist()


def test_the_interval_covers_the_true_share_where_questions_share_one_of_two_visuals():
    rng, covered, narrow = np.random.default_rng(0), 0, 0
    for _ in range(1000):
        right, files = pairs_of_visuals(rng)
        low, high = interval(right, range(120), files)
        covered += low <= 0.6 <= high
        low, high = interval(right, range(120))
        narrow += low <= 0.6 <= high
    assert 930 <= covered <= 985
    assert narrow < covered


def test_shared_units_that_follow_from_the_clusters_change_nothing():
    rng = np.random.default_rng(0)
    right, clips = (rng.random(3000) < 0.6).tolist(), np.repeat(np.arange(1000), 3).tolist()
    assert interval(right, clips, [[clip] for clip in clips]) == pytest.approx(interval(right, clips))
    other = (rng.random(3000) < 0.5).tolist()
    assert difference(right, other, clips, [[clip] for clip in clips]) == pytest.approx(difference(right, other, clips))


def test_a_visual_of_all_questions_widens_a_difference():
    rng = np.random.default_rng(0)
    right, files = pairs_of_visuals(rng, visuals=5)
    other, _ = pairs_of_visuals(rng)
    alone, shared = difference(right, other, range(120)), difference(right, other, range(120), files)
    assert shared[0] == alone[0]
    assert shared[2] - shared[1] >= alone[2] - alone[1]


def test_a_paired_difference_of_independent_questions_is_that_of_the_t_test():
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(400) < 0.8, rng.random(400) < 0.7
    mean, low, high, p = difference(ours.tolist(), theirs.tolist(), range(400))
    known = ttest_rel(ours.astype(float), theirs.astype(float))
    assert mean == pytest.approx(ours.mean() - theirs.mean())
    assert (low, high) == pytest.approx(tuple(known.confidence_interval(0.95)), abs=1e-3)
    assert p == pytest.approx(known.pvalue, abs=1e-2)


def test_questions_about_one_video_count_as_one_in_a_difference():
    ours, theirs = [i < 60 for i in range(100)], [20 <= i < 70 for i in range(100)]
    alone = difference(ours, theirs, range(100))
    twice = difference([*ours, *ours], [*theirs, *theirs], [*range(100), *range(100)])
    assert twice == pytest.approx(alone, abs=1e-3)


def test_equal_runs_do_not_differ():
    assert difference([True, False, True], [True, False, True], "abc") == (0, 0, 0, 1)
    assert difference([True, True], [False, False], "aa") == (1, -1, 1, 1)


def test_the_interval_of_a_mean_of_independent_values_is_the_t_interval():
    values = np.random.default_rng(0).normal(6, 1.5, 40)
    known = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values.tolist(), range(40), within=(1, 10)) == pytest.approx(tuple(known))


def test_equal_values_of_one_video_count_as_one_in_a_mean():
    values = np.random.default_rng(0).normal(6, 1.5, 40).tolist()
    alone = mean_interval(values, range(40), within=(1, 10))
    assert mean_interval([*values, *values], [*range(40), *range(40)], within=(1, 10)) == pytest.approx(alone)


def test_the_interval_of_a_mean_stays_on_the_scale_and_is_all_of_it_for_a_single_video():
    assert mean_interval([5, 6], "aa", within=(1, 10)) == (1, 10)
    assert mean_interval([10, 10, 9], "abc", within=(1, 10))[1] == 10


def test_the_interval_over_trainings_covers_the_mean_of_all_trainings_and_questions():
    """Questions and trainings vary, each as much as in a study; 20 trainings, so that z is exact enough."""
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        training, hardness = rng.normal(0, 0.05, (20, 1)), rng.normal(0, 0.2, (1, 200))
        values = (rng.random((20, 200)) < 0.6 + training + hardness).astype(float)
        _, low, high = seeded_interval(values, range(200), within=(0, 1))
        inside += low < 0.6 < high
    assert 0.91 < inside / 400 < 0.98


def test_one_training_has_the_interval_of_its_questions():
    values = np.array([[1.0, 0, 1, 1, 0, 1]])
    mean, low, high = seeded_interval(values, range(6), within=(-9, 9))
    assert (mean, high - mean) == pytest.approx((values.mean(), 1.959964 * values.std(ddof=1) / 6**0.5))
    assert mean - low == pytest.approx(high - mean)
    assert seeded_interval(values, range(6), within=(0, 1)) == (mean, low, 1)


def test_a_single_cluster_says_nothing_about_others():
    assert seeded_interval(np.array([[1.0, 0, 1, 1]]), [7] * 4, within=(-1, 1)) == (0.75, -1, 1)


@pytest.mark.parametrize("of_a_cluster", [1, 5])
def test_the_paired_bootstrap_has_the_interval_of_seeds_and_questions(of_a_cluster):
    rng = np.random.default_rng(1)
    chances = np.repeat(rng.random(600 // of_a_cluster), of_a_cluster)
    right = (rng.random((2, 3, 600)) < [[chances], [chances * 0.8]]).astype(float)
    differences, clusters = right[0] - right[1], [str(index // of_a_cluster) for index in range(600)]
    found, expected = paired_bootstrap(differences, clusters), seeded_interval(differences, clusters, within=(-1, 1))
    assert found == pytest.approx(expected, abs=0.006)
    assert found[0] == expected[0]


def test_the_bootstrap_of_trainings_that_agree_on_all_questions():
    assert paired_bootstrap(np.zeros((3, 4)), range(4)) == (0, 0, 0)
    assert paired_bootstrap(np.array([[1.0, 0, 1, 1]]), [7] * 4) == (0.75, -1, 1)


def test_alpha_is_that_of_krippendorffs_example():
    assert krippendorff_alpha([[1, 1], [5, 5], [9, 9]]) == 1
    # Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, section C: alpha is .849.
    nan = None
    raters = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
        [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
    ]
    units = [[value for value in values if value is not None] for values in zip(*raters, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.849, abs=5e-4)


def test_alpha_is_undefined_without_two_ratings_or_any_difference():
    assert krippendorff_alpha([[1], [2]]) is None
    assert krippendorff_alpha([[5, 5], [5, 5]]) is None
    assert krippendorff_alpha([]) is None


def test_nominal_alpha_ignores_the_distance_of_labels():
    near, far = [[0, 1], [1, 1], [2, 2]], [[0, 9], [9, 9], [2, 2]]
    assert krippendorff_alpha(near, "nominal") == pytest.approx(krippendorff_alpha(far, "nominal"))


def test_kappa_is_that_of_a_known_table():
    # 50 proposals, read by two people: 20 both yes, 15 both no, 5 and 10 in disagreement.
    one = ["yes"] * 25 + ["no"] * 25
    other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(one, other) == pytest.approx(0.4)
    assert cohen_kappa(one, one) == 1
    assert cohen_kappa(["yes"], ["yes"]) is None


def test_rank_correlation_depends_on_the_order_only_and_has_an_interval_around_it():
    one = np.random.default_rng(0).normal(size=60)
    other = one + np.random.default_rng(1).normal(size=60)
    rho, low, high = rank_correlation(one.tolist(), other.tolist(), range(60))
    assert low < rho < high < 1
    assert rank_correlation(np.exp(one).tolist(), other.tolist(), range(60)) == (rho, low, high)


def test_rank_correlation_is_undefined_for_a_constant_or_a_single_cluster():
    assert rank_correlation([1, 1, 1], [1, 2, 3], range(3)) is None
    assert rank_correlation([1, 2, 3], [1, 2, 3], [0, 0, 0]) is None
