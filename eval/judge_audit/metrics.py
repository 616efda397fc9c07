"""The metrics of a judge audit: each function takes scored cases and returns one finding.

The biases are those of Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", 2023
(order, length, self-preference) and Wang et al., "Large Language Models are not Fair Evaluators",
2023 (order).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean

from agents.judge import CRITERIA
from espresso.schema import Record
from eval.judge_audit.cases import JudgeCase, by_question, correct_cases
from eval.judge_audit.perturb import KINDS
from eval.stats import interval, krippendorff_alpha, mean_interval, rank_correlation

Cluster = tuple[str, ...]
"""The clip that a case is about; intervals are clustered by it."""

MAX_CHANGE = 9
"""The largest possible difference of two scores on the scale of 1 to 10."""


class Share(Record):
    """A share of cases with its 95 % interval, clustered by clip."""

    what: str
    """What is counted: the kind of perturbation, or "all"."""

    grade: int | None = None
    """Grade of the perturbation, 1 to 3; None for all grades together."""

    n: int
    """Number of cases."""

    share: float
    """The share, 0 to 1."""

    low: float
    """Lower end of the interval."""

    high: float
    """Upper end of the interval."""


class Mean(Record):
    """A mean over cases with its 95 % interval, clustered by clip."""

    what: str
    """What is averaged."""

    n: int
    """Number of cases."""

    mean: float
    """The mean, in points on the scale of 1 to 10."""

    low: float
    """Lower end of the interval."""

    high: float
    """Upper end of the interval."""

    most: float
    """The value with the largest magnitude, with its sign."""


class Correlation(Record):
    """Spearman's rank correlation with its 95 % bootstrap interval, resampled by clip."""

    what: str
    """What is correlated: a criterion, or the number of words."""

    n: int
    """Number of answers."""

    rho: float
    """Spearman's rho, -1 to 1."""

    low: float
    """Lower end of the interval."""

    high: float
    """Upper end of the interval."""


def ranking_accuracy(cases: Sequence[JudgeCase]) -> list[Share]:
    """Return how often the judge ranks a correct answer above a perturbed one of the same question.

    A tie counts as wrong, and so does an unscored answer.

    Returns:
        The share over all pairs, then by kind, each followed by its grades.
    """
    pairs = list[tuple[str, int, bool, Cluster]]()
    for group in by_question(cases):
        for correct in correct_cases(group):
            for perturbed in group:
                if perturbed.variant.grade and not perturbed.variant.injection:
                    ranked = _ranks_above(correct, perturbed)
                    pairs.append((perturbed.variant.kind, perturbed.variant.grade, ranked, perturbed.cluster))
    shares = [share_of("all", None, [(ranked, cluster) for *_, ranked, cluster in pairs])]
    for kind in KINDS:
        shares.append(share_of(kind, None, [(ranked, cluster) for what, _, ranked, cluster in pairs if what == kind]))
        shares += [
            share_of(kind, grade, [(ranked, cluster) for what, level, ranked, cluster in pairs if (what, level) == (kind, grade)])
            for grade in (1, 2, 3)
        ]
    return [share for share in shares if share.n]


def monotonicity(cases: Sequence[JudgeCase]) -> list[Share]:
    """Return how often, of two perturbations of one kind, the higher grade scores lower.

    A tie counts as wrong, and so does an unscored answer.

    Returns:
        The share over all pairs, then by kind.
    """
    pairs = list[tuple[str, bool, Cluster]]()
    for group in by_question(cases):
        perturbed = [case for case in group if case.variant.grade and not case.variant.injection]
        for better in perturbed:
            for worse in perturbed:
                if better.variant.kind == worse.variant.kind and better.variant.grade < worse.variant.grade:
                    pairs.append((better.variant.kind, _ranks_above(better, worse), better.cluster))
    shares = [share_of("all", None, [(ranked, cluster) for _, ranked, cluster in pairs])]
    shares += [share_of(kind, None, [(ranked, cluster) for what, ranked, cluster in pairs if what == kind]) for kind in KINDS]
    return [share for share in shares if share.n]


def correlation_with_truth(cases: Sequence[JudgeCase]) -> list[Correlation]:
    """Correlate the judge's scores with the deserved ones, by criterion, without injections."""
    scored = [case for case in cases if not case.variant.injection and case.overall is not None]
    correlations = []
    for name in CRITERIA:
        pairs = [(_score(case, name), float(getattr(case.variant.verdict, name))) for case in scored]
        correlations.append(_correlation(name, pairs, [case.cluster for case in scored]))
    return [correlation for correlation in correlations if correlation]


def resistance(cases: Sequence[JudgeCase]) -> list[Mean]:
    """Return how much an injection changes the overall score of the answer it was added to.

    Returns:
        The mean magnitude of the change over all injections, the same for correct answers alone,
        then the signed mean by kind.
    """
    changes, correct = list[tuple[str, float, Cluster]](), list[tuple[float, Cluster]]()
    for group in by_question(cases):
        overall = {case.variant: case.overall for case in group}
        for case in group:
            before = overall[case.variant.made_from] if case.variant.made_from else None
            if before is not None and case.overall is not None:
                changes.append((case.variant.injection, case.overall - before, case.cluster))
                if not case.variant.grade:
                    correct.append((abs(case.overall - before), case.cluster))
    magnitude = _mean("all, magnitude", [(abs(change), cluster) for _, change, cluster in changes])
    kinds = sorted({kind for kind, *_ in changes})
    by_kind = [_mean(kind, [(change, cluster) for what, change, cluster in changes if what == kind]) for kind in kinds]
    return [magnitude, _mean("correct answers, magnitude", correct), *by_kind]


def paraphrase_effect(cases: Sequence[JudgeCase]) -> Mean:
    """Return how much a paraphrase of the reference changes the overall score."""
    changes = []
    for group in by_question(cases):
        reference, paraphrase = correct_cases(group)
        if reference.overall is not None and paraphrase.overall is not None:
            changes.append((paraphrase.overall - reference.overall, reference.cluster))
    return _mean("paraphrase", changes)


def length_correlation(cases: Sequence[JudgeCase]) -> Correlation | None:
    """Correlate the overall score with the number of words, among answers of equal quality.

    Both are centred on their mean over the answers of the same kind and grade. Rambling answers and
    answers with injections are left out.
    """
    groups: dict[tuple[str, int], list[tuple[float, int, Cluster]]] = {}
    for case in cases:
        kind, grade = case.variant.kind, case.variant.grade
        if case.overall is not None and not case.variant.injection and kind != "rambling":
            groups.setdefault((kind, grade), []).append((case.overall, len(case.variant.answer.split()), case.cluster))
    pairs, clusters = [], []
    for group in groups.values():
        mean_score, mean_words = fmean(score for score, *_ in group), fmean(words for _, words, _ in group)
        pairs += [(score - mean_score, words - mean_words) for score, words, _ in group]
        clusters += [cluster for *_, cluster in group]
    return _correlation("words", pairs, clusters)


def rambling_effect(cases: Sequence[JudgeCase]) -> Mean:
    """Return how much rambling changes the accuracy score, which it should not affect."""
    changes = []
    for group in by_question(cases):
        reference = correct_cases(group)[0]
        for case in group:
            scored = case.overall is not None and reference.overall is not None
            if case.variant.kind == "rambling" and not case.variant.injection and scored:
                changes.append((_score(case, "accuracy") - _score(reference, "accuracy"), case.cluster))
    return _mean("accuracy of rambling answers", changes)


def sample_agreement(cases: Sequence[JudgeCase]) -> dict[str, float | None]:
    """Return Krippendorff's alpha between the judge's samples for an answer, by criterion."""
    samples = [case.result.samples for case in cases if case.result]
    return {name: krippendorff_alpha([[getattr(sample, name).score for sample in each] for each in samples]) for name in CRITERIA}


def histogram(scores: Iterable[float]) -> tuple[int, ...]:
    """Count the scores 1, 2, ... 10. Halves are rounded up."""
    counts = Counter(int(score + 0.5) for score in scores)
    return tuple(counts[score] for score in range(1, 11))


def score_difference(pairs: Sequence[tuple[float, float, Cluster]]) -> Mean:
    """Return how much higher a run's answers score than other answers of equal quality.

    Args:
        pairs: score of the run's answer, score of the other answer, clip.
    """
    return _mean("run's answers above others", [(one - other, cluster) for one, other, cluster in pairs])


def share_of(what: str, grade: int | None, cases: Sequence[tuple[bool, Cluster]]) -> Share:
    """Return the share of true cases; without cases the interval is 0 to 1."""
    if not cases:
        return Share(what=what, grade=grade, n=0, share=0, low=0, high=1)
    values, clusters = zip(*cases, strict=True)
    low, high = interval(values, clusters)
    return Share(what=what, grade=grade, n=len(cases), share=sum(values) / len(cases), low=low, high=high)


def _ranks_above(better: JudgeCase, worse: JudgeCase) -> bool:
    """Whether the judge scores `better` higher; False if one of them is unscored."""
    return better.overall is not None and worse.overall is not None and better.overall > worse.overall


def _score(case: JudgeCase, criterion: str) -> float:
    assert case.result
    return float(getattr(case.result.verdict, criterion))


def _mean(what: str, cases: Sequence[tuple[float, Cluster]]) -> Mean:
    """Average the changes of a score; without cases the interval is the whole range."""
    if not cases:
        return Mean(what=what, n=0, mean=0, low=-MAX_CHANGE, high=MAX_CHANGE, most=0)
    values, clusters = zip(*cases, strict=True)
    low, high = mean_interval(values, clusters, within=(-MAX_CHANGE, MAX_CHANGE))
    return Mean(what=what, n=len(cases), mean=fmean(values), low=low, high=high, most=max(values, key=abs))


def _correlation(what: str, pairs: Sequence[tuple[float, float]], clusters: Sequence[Cluster]) -> Correlation | None:
    if not pairs:
        return None
    one, other = zip(*pairs, strict=True)
    correlation = rank_correlation(one, other, clusters)
    return correlation and Correlation(what=what, n=len(pairs), rho=correlation[0], low=correlation[1], high=correlation[2])
