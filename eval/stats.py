"""Confidence intervals for shares, means and differences, and measures of agreement.

Questions about one video are not independent. Every interval here is robust to such clusters.

Questions about several visuals can share one of them without being in the same cluster. The
functions with the parameter `shared` count the covariance of all questions that are in one cluster
or share such a unit (Aronow, Samii, Assenova, "Cluster-Robust Variance Estimation for Dyadic Data",
2015). Joining them into one cluster is no choice: a chain of shared visuals connects almost all.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from math import erfc, sqrt
from typing import Literal

import krippendorff
import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import stdtrit
from scipy.stats import bootstrap, spearmanr

Z = 1.959964
"""Quantile of the normal distribution for a two-sided 95 % interval."""


Shared = Sequence[Collection[Hashable]]
"""Units of each question that other questions may share, such as its files."""


def interval(right: Sequence[bool], clusters: Sequence[Hashable], shared: Shared = ()) -> tuple[float, float]:
    """Return the 95 % confidence interval of the share of true values, for clustered questions.

    Wilson's score interval (Wilson, 1927) over the effective number of questions: their number
    divided by the design effect, the ratio of the cluster-robust variance to that of independent
    questions, at least 1 (Dean and Pagano, "Evaluating Confidence Interval Methods for Binomial
    Proportions in Clustered Surveys", 2015; Miller, "Adding Error Bars to Evals", 2024). With one
    question per cluster it is Wilson's interval. A single cluster counts as one question.

    Args:
        right: whether each question was answered correctly, shape (n,), n >= 1.
        clusters: the cluster of each question, shape (n,).
        shared: further units of each question; empty if questions share clusters only.

    Returns:
        Lower and upper end, 0 to 1.
    """
    values = np.asarray(right, dtype=float)
    share, n = float(values.mean()), len(values) / _design_effect(values, clusters, shared)
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _design_effect(values: np.ndarray, clusters: Sequence[Hashable], shared: Shared) -> float:
    """Return the cluster-robust variance of the mean over the independent one, 1 to n."""
    n = len(values)
    if len(set(clusters)) == 1:
        return float(n)
    simple = float(values.var()) / (n - 1)
    return min(float(n), max(1.0, _variance(values, clusters, shared) / simple)) if simple > 0 else 1.0


def _variance(values: np.ndarray, clusters: Sequence[Hashable], shared: Shared) -> float:
    """Return the robust variance of the mean of values in at least two clusters.

    It is at least the one without shared units, which a sample with negative covariances would
    undercut.
    """
    sums = _residual_sums(values, clusters)
    total = sum(each**2 for each in sums.values())
    if shared:
        total = max(total, _dependent_products(values - values.mean(), clusters, shared))
    return len(sums) / (len(sums) - 1) * total / len(values) ** 2


BLOCK = 1024
"""Questions whose dependence on all others is computed at once, to bound memory."""


def _dependent_products(residuals: np.ndarray, clusters: Sequence[Hashable], shared: Shared) -> float:
    """Sum the products of the residuals of all ordered pairs of questions that share a unit."""
    numbers = dict[Hashable, int]()
    rows, columns = list[int](), list[int]()
    for row, (cluster, units) in enumerate(zip(clusters, shared, strict=True)):
        for unit in {("cluster", cluster), *(("unit", each) for each in units)}:
            rows.append(row)
            columns.append(numbers.setdefault(unit, len(numbers)))
    incidence = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(residuals), len(numbers)))
    total = 0.0
    for start in range(0, len(residuals), BLOCK):
        dependent = (incidence[start : start + BLOCK] @ incidence.T).astype(bool)
        total += float(residuals[start : start + BLOCK] @ (dependent @ residuals))
    return total


def difference(
    ours: Sequence[bool], theirs: Sequence[bool], clusters: Sequence[Hashable], shared: Shared = ()
) -> tuple[float, float, float, float]:
    """Compare the shares of true values of two runs on the same questions.

    Miller, 2024, section 4.2. The comparison is paired: a question that is hard for both runs does
    not widen the interval. The variance is robust to clusters. With a single cluster the interval
    is -1 to 1 and p is 1.

    Args:
        ours: whether our run answered each question correctly, shape (n,), n >= 1.
        theirs: the same for the other run.
        clusters: the cluster of each question, shape (n,).
        shared: see `interval`.

    Returns:
        The share of `ours` minus that of `theirs`, the lower and upper end of its 95 % interval,
        and the two-sided p-value (normal approximation).
    """
    pairs = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    mean = float(pairs.mean())
    if len(set(clusters)) == 1:
        return mean, -1.0, 1.0, 1.0
    error = sqrt(_variance(pairs, clusters, shared))
    p = erfc(abs(mean) / error / sqrt(2)) if error > 0 else 1.0
    return mean, max(-1.0, mean - Z * error), min(1.0, mean + Z * error), p


def _residual_sums(values: np.ndarray, clusters: Sequence[Hashable]) -> dict[Hashable, float]:
    """Sum the deviations of (n,) values from their mean by cluster."""
    sums = dict[Hashable, float]()
    for cluster, residual in zip(clusters, values - values.mean(), strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + float(residual)
    return sums


def mean_interval(values: Sequence[float], clusters: Sequence[Hashable], *, within: tuple[float, float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of a mean, for clustered questions.

    Miller, 2024, section 2.2: Student's t over the cluster-robust standard error, with one degree
    of freedom less than there are clusters. With one question per cluster it is the t interval.

    Args:
        values: one value per question, shape (n,), n >= 1.
        clusters: the cluster of each question, shape (n,).
        within: smallest and largest possible value; the interval is clipped to them, and is all of
            them if there is a single cluster.

    Returns:
        Lower and upper end.
    """
    numbers = np.asarray(values, dtype=float)
    count = len(set(clusters))
    if count == 1:
        return within
    half = float(stdtrit(count - 1, 0.975)) * sqrt(_variance(numbers, clusters, ()))
    return max(within[0], float(numbers.mean()) - half), min(within[1], float(numbers.mean()) + half)


def seeded_interval(
    values: np.ndarray, clusters: Sequence[Hashable], shared: Shared = (), *, within: tuple[float, float]
) -> tuple[float, float, float]:
    """Return the mean over trainings and questions with its 95 % confidence interval.

    The variance is that of the questions, each with its mean over the trainings, robust to
    clusters, plus that of the trainings: the variance of their means over their number. The normal
    approximation makes intervals slightly too narrow for a few trainings.

    Args:
        values: one value per training and question, (trainings, n): 0 or 1, or a difference of
            such.
        clusters: the cluster of each question, (n,).
        shared: see `interval`.
        within: smallest and largest possible value; the interval is clipped to them, and is all of
            them if there is a single cluster.

    Returns:
        The mean, and the ends of its interval.
    """
    mean, trainings = float(values.mean()), len(values)
    if len(set(clusters)) == 1:
        return mean, *within
    between = float(values.mean(1).var(ddof=1)) / trainings if trainings > 1 else 0.0
    half = Z * sqrt(_variance(values.mean(0), clusters, shared) + between)
    return mean, max(within[0], mean - half), min(within[1], mean + half)


RESAMPLES = 1000
"""Number of bootstrap resamples."""


def paired_bootstrap(differences: np.ndarray, clusters: Sequence[Hashable]) -> tuple[float, float, float]:
    """Return the mean difference of two sets of trainings with its 95 % interval.

    The percentile bootstrap of scipy, which resamples clusters of questions. The variance of the
    trainings, of which there are too few to resample, is added to both sides as in
    `seeded_interval`.

    Args:
        differences: one value of -1 to 1 per training and question, (trainings, n).
        clusters: the cluster of each question, (n,).

    Returns:
        The mean, and the ends of its interval; they are -1 and 1 if there is a single cluster.
    """
    places = {cluster: place for place, cluster in enumerate(dict.fromkeys(clusters))}
    if len(places) == 1:
        return float(differences.mean()), -1.0, 1.0
    place = [places[cluster] for cluster in clusters]
    found = bootstrap(
        (np.bincount(place, differences.mean(0)), np.bincount(place)),
        lambda totals, sizes, axis: totals.sum(axis) / sizes.sum(axis),
        paired=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    mean, trainings = float(differences.mean()), len(differences)
    between = Z**2 * float(differences.mean(1).var(ddof=1)) / trainings if trainings > 1 else 0.0
    low, high = (sqrt((end - mean) ** 2 + between) for end in found)
    return mean, max(-1.0, mean - low), min(1.0, mean + high)


def rank_correlation(
    one: Sequence[float], other: Sequence[float], clusters: Sequence[Hashable]
) -> tuple[float, float, float] | None:
    """Return Spearman's rank correlation with its 95 % bootstrap interval.

    Efron, "Bootstrap Methods", 1979. Clusters are resampled as a whole, with a fixed seed.

    Args:
        one: first variable, shape (n,).
        other: second variable, shape (n,).
        clusters: the cluster of each pair of values, shape (n,).

    Returns:
        The correlation and the lower and upper end of its interval. None if a variable is constant
        or there is a single cluster.
    """
    numbers = np.array([one, other], dtype=float)
    groups: dict[Hashable, list[int]] = {}
    for index, cluster in enumerate(clusters):
        groups.setdefault(cluster, []).append(index)
    if len(groups) < 2 or (numbers == numbers[:, :1]).all(axis=1).any():
        return None
    rng, members, correlations = np.random.default_rng(0), list(groups.values()), list[float]()
    for _ in range(RESAMPLES):
        sample = np.concatenate([members[index] for index in rng.integers(len(members), size=len(members))])
        if not (numbers[:, sample] == numbers[:, sample[:1]]).all(axis=1).any():
            correlations.append(float(spearmanr(*numbers[:, sample]).statistic))
    low, high = np.percentile(correlations, [2.5, 97.5])
    return float(spearmanr(*numbers).statistic), float(low), float(high)


def cohen_kappa(one: Sequence[Hashable], other: Sequence[Hashable]) -> float | None:
    """Return Cohen's kappa of two raters.

    Cohen, "A Coefficient of Agreement for Nominal Scales", 1960. 1 is perfect agreement, 0 is
    agreement by chance.

    Args:
        one: labels of the first rater, shape (n,), n >= 1.
        other: labels of the second rater, shape (n,).

    Returns:
        Kappa, or None if both raters always give the same label.
    """
    n = len(one)
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / n
    chance = sum(list(one).count(label) * list(other).count(label) for label in set(one)) / n**2
    return (observed - chance) / (1 - chance) if chance < 1 else None


def krippendorff_alpha(ratings: Sequence[Sequence[float]], level: Literal["interval", "nominal"] = "interval") -> float | None:
    """Return Krippendorff's alpha (Krippendorff, "Content Analysis", 2018, chapter 12).

    1 is perfect agreement, 0 is agreement by chance.

    Args:
        ratings: the ratings of each unit, in any order; units may differ in their number of
            ratings.
        level: "nominal" if the numbers stand for labels.

    Returns:
        Alpha, or None if no unit has two ratings or all ratings are equal.
    """
    rated = [list(numbers) for numbers in ratings if len(numbers) > 1]
    if len({number for numbers in rated for number in numbers}) < 2:
        return None
    most = max(map(len, rated))
    table = np.array([numbers + [np.nan] * (most - len(numbers)) for numbers in rated])
    return float(krippendorff.alpha(reliability_data=table.T, level_of_measurement=level))
