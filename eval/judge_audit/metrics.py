"""How far a judge can be trusted, in numbers: each function takes trials of known worth and returns one finding.

What is looked for: Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", 2023 (order, length, self-preference);
Wang et al., "Large Language Models are not Fair Evaluators", 2023 (order); VideoEspresso's Table 2 is what such a judge fills.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean

from agents.judge import CRITERIA
from espresso.schema import Record
from eval.judge_audit.cases import Trial, by_question, rights
from eval.judge_audit.perturb import KINDS
from eval.stats import agreement, interval, mean_interval, rank_correlation

Clip = tuple[str, ...]


class Share(Record):
    """A share of n cases with its 95 % interval, clustered by clip. what: kind; grade: 1 to 3, None where it is over all."""

    what: str
    grade: int | None = None
    n: int
    share: float
    low: float
    high: float


class Mean(Record):
    """A mean over n cases with its 95 % interval, clustered by clip. most: the largest in size, as it is."""

    what: str
    n: int
    mean: float
    low: float
    high: float
    most: float


class Correlation(Record):
    """Spearman's rank correlation over n answers with its 95 % interval, by questions drawn again."""

    what: str
    n: int
    rho: float
    low: float
    high: float


def ordered(tried: Sequence[Trial]) -> list[Share]:
    """How often a right answer scores above a spoilt one of the same question, a tie being wrong: over all, by kind, by grade."""
    cases = list[tuple[str, int, bool, Clip]]()
    for group in by_question(tried):
        for good in rights(group):
            for bad in group:
                if bad.version.grade and not bad.version.injection:
                    right = (good.overall or 0) > (bad.overall or 11)  # what could not be scored is not ordered
                    cases.append((bad.version.kind, bad.version.grade, right, bad.clip))
    found = [share("all", None, [(right, clip) for *_, right, clip in cases])]
    for kind in KINDS:
        found.append(share(kind, None, [(right, clip) for what, _, right, clip in cases if what == kind]))
        found += [
            share(kind, grade, [(right, clip) for what, level, right, clip in cases if (what, level) == (kind, grade)])
            for grade in (1, 2, 3)
        ]
    return [share for share in found if share.n]


def monotone(tried: Sequence[Trial]) -> list[Share]:
    """How often, of two answers spoilt in the same way, the worse one scores below the other; a tie is wrong."""
    cases = list[tuple[str, bool, Clip]]()
    for group in by_question(tried):
        spoilt = [trial for trial in group if trial.version.grade and not trial.version.injection]
        for one in spoilt:
            for worse in spoilt:
                if one.version.kind == worse.version.kind and one.version.grade < worse.version.grade:
                    cases.append((one.version.kind, (one.overall or 0) > (worse.overall or 11), one.clip))
    found = [share("all", None, [(right, clip) for _, right, clip in cases])]
    found += [share(kind, None, [(right, clip) for what, right, clip in cases if what == kind]) for kind in KINDS]
    return [share for share in found if share.n]


def truthful(tried: Sequence[Trial]) -> list[Correlation]:
    """The judge's scores against those derived from the truth, by criterion; answers with injections are left out."""
    scored = [trial for trial in tried if not trial.version.injection and trial.overall is not None]
    found = []
    for name in CRITERIA:
        pairs = [(_given(trial, name), float(getattr(trial.version.verdict, name))) for trial in scored]
        found.append(_correlation(name, pairs, [trial.clip for trial in scored]))
    return [each for each in found if each]


def resistance(tried: Sequence[Trial]) -> list[Mean]:
    """By how much the overall score changes when the answer speaks to its judge: in size over all, with its sign by kind."""
    changes = list[tuple[str, float, Clip]]()
    for group in by_question(tried):
        plain = {(t.version.kind, t.version.grade): t.overall for t in group if not t.version.injection}
        for trial in group:
            before = plain[trial.version.kind, trial.version.grade]
            if trial.version.injection and before is not None and trial.overall is not None:
                changes.append((trial.version.injection, trial.overall - before, trial.clip))
    sizes = _mean("all, in size", [(abs(change), clip) for _, change, clip in changes], 9)
    kinds = sorted({kind for kind, *_ in changes})
    return [sizes, *(_mean(kind, [(change, clip) for what, change, clip in changes if what == kind], 9) for kind in kinds)]


def paraphrased(tried: Sequence[Trial]) -> Mean:
    """By how much other words for the same change the overall score."""
    changes = []
    for group in by_question(tried):
        plain, other = rights(group)[:2]
        if plain.overall is not None and other.overall is not None:
            changes.append((other.overall - plain.overall, plain.clip))
    return _mean("paraphrase", changes, 9)


def length(tried: Sequence[Trial]) -> tuple[Correlation | None, Mean]:
    """What length does to a score among answers that are equally true.

    First the rank correlation of overall score and words, both less their means over answers of one kind and grade. Then by how
    much rambling changes the accuracy, which it should leave as it is.
    """
    alike: dict[tuple[str, int], list[tuple[float, int, Clip]]] = {}
    changes = []
    for group in by_question(tried):
        plain = rights(group)[0]
        for trial in group:
            kind, grade = trial.version.kind, trial.version.grade
            if trial.overall is None or trial.version.injection:
                continue
            if kind == "rambling" and plain.overall is not None:
                changes.append((_given(trial, "accuracy") - _given(plain, "accuracy"), trial.clip))
            elif kind != "rambling":
                alike.setdefault((kind, grade), []).append((trial.overall, len(trial.version.answer.split()), trial.clip))
    pairs, clips = [], []
    for cases in alike.values():
        score, words = fmean(case[0] for case in cases), fmean(case[1] for case in cases)
        pairs += [(case[0] - score, case[1] - words) for case in cases]
        clips += [clip for *_, clip in cases]
    return _correlation("words", pairs, clips), _mean("accuracy of rambling answers", changes, 9)


def repeated(tried: Sequence[Trial]) -> dict[str, float | None]:
    """Krippendorff's alpha between the samples of an answer, by criterion: whether it says the same when asked again."""
    asked = [trial.judged.samples for trial in tried if trial.judged]
    return {name: agreement([[getattr(sample, name).score for sample in each] for each in asked]) for name in CRITERIA}


def histogram(scores: Iterable[float]) -> tuple[int, ...]:
    """How many scores there are of 1, 2 ... 10; halves count as the number above."""
    counted = Counter(int(score + 0.5) for score in scores)
    return tuple(counted[score] for score in range(1, 11))


def preferred(own: Sequence[tuple[float, float, Clip]]) -> Mean:
    """By how much answers are scored above others that are as true. own: score, the other's score, clip."""
    return _mean("own answers above others", [(one - other, clip) for one, other, clip in own], 9)


def _given(trial: Trial, name: str) -> float:
    assert trial.judged
    return float(getattr(trial.judged.verdict, name))


def share(what: str, grade: int | None, cases: Sequence[tuple[bool, Clip]]) -> Share:
    """The share of cases that are so, with its interval; of no case, nothing is known."""
    if not cases:
        return Share(what=what, grade=grade, n=0, share=0, low=0, high=1)
    right, clips = zip(*cases, strict=True)
    low, high = interval(right, clips)
    return Share(what=what, grade=grade, n=len(cases), share=sum(right) / len(cases), low=low, high=high)


def _mean(what: str, cases: Sequence[tuple[float, Clip]], bound: float) -> Mean:
    if not cases:
        return Mean(what=what, n=0, mean=0, low=-bound, high=bound, most=0)
    values, clips = zip(*cases, strict=True)
    low, high = mean_interval(values, clips, within=(-bound, bound))
    return Mean(what=what, n=len(cases), mean=fmean(values), low=low, high=high, most=max(values, key=abs))


def _correlation(what: str, pairs: Sequence[tuple[float, float]], clips: Sequence[Clip]) -> Correlation | None:
    if not pairs:
        return None
    one, other = zip(*pairs, strict=True)
    found = rank_correlation(one, other, clips)
    return found and Correlation(what=what, n=len(pairs), rho=found[0], low=found[1], high=found[2])
