"""Intervals for shares and for differences of shares: how far a measured accuracy can be trusted."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import erfc, sqrt

import numpy as np

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
