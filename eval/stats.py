"""Intervals for shares, means and differences, and agreement: how far what was measured can be trusted."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import erfc, sqrt
from typing import Literal

import krippendorff
import numpy as np
from scipy.special import stdtrit
from scipy.stats import spearmanr

Z = 1.959964
"""Of a 95 % interval."""


def interval(right: Sequence[bool], clusters: Sequence[Hashable]) -> tuple[float, float]:
    """95 % interval of the share of `right`, for questions that come in clusters (those about one video).

    Wilson's score interval over the effective number of questions: their number divided by the design effect, which is how much
    larger the cluster-robust variance is than that of as many unrelated questions (at least 1). With a cluster for each
    question it is Wilson's own interval. With a single cluster nothing tells the questions apart, and they count as one.

    right, clusters: (n,), n >= 1. Wilson, 1927; Dean and Pagano, "Evaluating Confidence Interval Methods for Binomial
    Proportions in Clustered Surveys", 2015; Miller, "Adding Error Bars to Evals", 2024, for clusters in benchmarks.
    """
    values = np.asarray(right, dtype=float)
    share, n = float(values.mean()), len(values) / _design_effect(values, clusters)
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _design_effect(values: np.ndarray, clusters: Sequence[Hashable]) -> float:
    """Cluster-robust variance of the mean of (n,) values over its variance were they unrelated, both unbiased; at least 1."""
    n, sums = len(values), _sums(values, clusters)
    if len(sums) == 1:
        return float(n)
    simple = float(values.var()) / (n - 1)
    robust = len(sums) / (len(sums) - 1) * sum(total**2 for total in sums.values()) / n**2
    return max(1.0, robust / simple) if simple > 0 else 1.0


def difference(ours: Sequence[bool], theirs: Sequence[bool], clusters: Sequence[Hashable]) -> tuple[float, float, float, float]:
    """By how much the share of `ours` is above that of `theirs`, on the same questions: difference, 95 % interval, two-sided p.

    Paired: what makes a question hard for both does not widen the interval. The variance is robust to clusters (questions about
    one video); p is the normal approximation's. A single cluster tells nothing: the interval is the whole range then, and p is 1.

    ours, theirs, clusters: (n,), n >= 1. Miller, "Adding Error Bars to Evals", 2024, section 4.2.
    """
    pairs = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    mean, sums = float(pairs.mean()), _sums(pairs, clusters)
    if len(sums) == 1:
        return mean, -1.0, 1.0, 1.0
    error = sqrt(len(sums) / (len(sums) - 1) * sum(total**2 for total in sums.values())) / len(pairs)
    p = erfc(abs(mean) / error / sqrt(2)) if error > 0 else 1.0
    return mean, max(-1.0, mean - Z * error), min(1.0, mean + Z * error), p


def _sums(values: np.ndarray, clusters: Sequence[Hashable]) -> dict[Hashable, float]:
    """Sum the (n,) values' deviations from their mean over each cluster."""
    sums = dict[Hashable, float]()
    for cluster, residual in zip(clusters, values - values.mean(), strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + float(residual)
    return sums


def mean_interval(values: Sequence[float], clusters: Sequence[Hashable], *, within: tuple[float, float]) -> tuple[float, float]:
    """95 % interval of the mean of `values`, for questions that come in clusters (those about one video).

    Student's t over the cluster-robust standard error, with one degree of freedom less than there are clusters; with a cluster
    for each question it is the t interval. A single cluster tells nothing: the interval is all that the values lie `within`.

    values, clusters: (n,), n >= 1. Miller, "Adding Error Bars to Evals", 2024, section 2.2.
    """
    numbers = np.asarray(values, dtype=float)
    sums = _sums(numbers, clusters)
    if len(sums) == 1:
        return within
    error = sqrt(len(sums) / (len(sums) - 1) * sum(total**2 for total in sums.values())) / len(numbers)
    half = float(stdtrit(len(sums) - 1, 0.975)) * error
    return max(within[0], float(numbers.mean()) - half), min(within[1], float(numbers.mean()) + half)


RESAMPLED = 1000
"""Times that questions are drawn again for the interval of a rank correlation."""


def rank_correlation(
    one: Sequence[float], other: Sequence[float], clusters: Sequence[Hashable]
) -> tuple[float, float, float] | None:
    """Spearman's rank correlation with its 95 % interval: clusters (questions) are drawn again, a thousand times.

    one, other, clusters: (n,). None where one of the two is the same everywhere or there is a single cluster.
    Efron, "Bootstrap Methods", 1979; the same draws for the same data.
    """
    numbers = np.array([one, other], dtype=float)
    groups: dict[Hashable, list[int]] = {}
    for place, cluster in enumerate(clusters):
        groups.setdefault(cluster, []).append(place)
    if len(groups) < 2 or (numbers == numbers[:, :1]).all(axis=1).any():
        return None
    rng, members, found = np.random.default_rng(0), list(groups.values()), list[float]()
    for _ in range(RESAMPLED):
        drawn = np.concatenate([members[place] for place in rng.integers(len(members), size=len(members))])
        if not (numbers[:, drawn] == numbers[:, drawn[:1]]).all(axis=1).any():
            found.append(float(spearmanr(*numbers[:, drawn]).statistic))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(spearmanr(*numbers).statistic), float(low), float(high)


def kappa(one: Sequence[Hashable], other: Sequence[Hashable]) -> float | None:
    """Cohen's kappa of two raters' labels, (n,) each: 1 where they are equal, 0 where they agree as by chance.

    None where chance alone would make them equal. Cohen, "A Coefficient of Agreement for Nominal Scales", 1960.
    """
    n = len(one)
    seen = sum(a == b for a, b in zip(one, other, strict=True)) / n
    chance = sum(list(one).count(label) * list(other).count(label) for label in set(one)) / n**2
    return (seen - chance) / (1 - chance) if chance < 1 else None


def agreement(ratings: Sequence[Sequence[float]], level: Literal["interval", "nominal"] = "interval") -> float | None:
    """Krippendorff's alpha: 1 where ratings of the same thing are equal, 0 where they agree as by chance.

    ratings: of each thing, one or more numbers; who gave which does not matter. level: "nominal" where numbers stand for labels.
    None where nothing was rated twice, or where all numbers are the same, so that chance would agree as well. Krippendorff,
    "Content Analysis", 2018, chapter 12.
    """
    rated = [list(numbers) for numbers in ratings if len(numbers) > 1]
    if len({number for numbers in rated for number in numbers}) < 2:
        return None
    most = max(map(len, rated))
    table = np.array([numbers + [np.nan] * (most - len(numbers)) for numbers in rated])
    return float(krippendorff.alpha(reliability_data=table.T, level_of_measurement=level))
