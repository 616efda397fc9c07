"""The metrics of a run: means over its samples, with intervals."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from statistics import fmean
from typing import Any

from pydantic import AliasChoices, ConfigDict, Field

from espresso.media import split_segment
from espresso.schema import Answer, Record, Task
from eval.sample import Sample
from eval.stats import interval, mean_interval

QUESTIONS_PER_CLIP = 10
"""Questions about one clip over which `tflops_at_10` divides the cost of its captions."""


def _named(field: str, name: str) -> Any:
    """Return a field that JSON calls by a name that is no identifier."""
    return Field(serialization_alias=name, validation_alias=AliasChoices(field, name))


class Metrics(Record):
    """The metrics of a run, None where nothing was measured. An error counts as a wrong answer.

    Means of frames, tokens, operations and core frames are over the answered questions.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    accuracy: float
    """Share of correct answers, 0 to 1."""

    accuracy_low: float
    """Lower end of the 95 % interval, clustered by `clusters`."""

    accuracy_high: float
    """Upper end of the 95 % interval, clustered by `clusters`."""

    consistency: float | None = None
    """Share of the groups of questions whose asked questions are all answered correctly, 0 to 1.

    In NLVR2 a group is a sentence with all its pairs of images. None without groups.
    """

    consistency_low: float | None = None
    """Lower end of its 95 % interval, clustered by `clusters`."""

    consistency_high: float | None = None
    """Upper end of its 95 % interval, clustered by `clusters`."""

    groups: int | None = None
    """Number of groups; None without groups."""

    weighted_accuracy: float | None = None
    """Accuracy with each question weighted by `Question.weight`, 0 to 1; None without weights.

    In SMART-101 the weight is the difficulty of the puzzle. If all puzzles have as many questions,
    this is WOSA (`espresso.datasets.smart101.scores`).
    """

    weighted_accuracy_low: float | None = None
    """Lower end of its 95 % interval, clustered by `clusters`."""

    weighted_accuracy_high: float | None = None
    """Upper end of its 95 % interval, clustered by `clusters`."""

    official_accuracy: float | None
    """Accuracy of written replies by the rule of VideoEspresso's authors."""

    n: int
    """Number of questions."""

    errors: int
    """Number of questions without an answer."""

    frames: float | None
    """Core frames per question."""

    visual_tokens: float | None
    """Visual tokens of the reasoner's last prompt; as in the paper, other prompts are left out."""

    tflops: float | None
    """10^12 operations of the reasoner per question, evidence and answer, as in the paper."""

    tflops_all: float | None
    """10^12 operations of all roles for the first question about a clip; cached captions count."""

    tflops_at_10: float | None = _named("tflops_at_10", "tflops@10")
    """As `tflops_all`, if ten questions about a clip share its captions."""

    core_precision: float | None
    """Share of the core frames that lie in a true span."""

    core_recall: float | None
    """Share of the true spans that hold a core frame."""

    core_reach: float | None
    """Share of the time between the first and the last true span that lies between core frames."""

    hit_at_1: float | None = _named("hit_at_1", "hit@1")
    """Share of the questions for which a needed frame was found."""

    hit_at_2: float | None = _named("hit_at_2", "hit@2")
    """Share of the questions that need two frames or more for which two were found."""

    evidence_precision: float | None
    """Share of the facts in the evidence that are true."""

    caption_precision: float | None
    """Share of the captions that are true."""

    seconds: float
    """Wall time of the run per question."""


class TaskAccuracy(Record):
    """Accuracy of one task, with its 95 % interval."""

    task: Task | str = Field(union_mode="left_to_right")
    n: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def metrics(samples: Sequence[Sample]) -> Metrics:
    """Compute the metrics of at least one sample."""
    answers = [(sample.answer, sample.scores) for sample in samples if sample.answer]
    scores = [each for _, each in answers]
    low, high = _interval(samples)
    return Metrics(
        accuracy=fmean(sample.scores.correct for sample in samples),
        accuracy_low=low,
        accuracy_high=high,
        **_consistency(samples),
        **_weighted(samples),
        official_accuracy=_official(samples),
        n=len(samples),
        errors=len(samples) - len(answers),
        frames=_mean(len(answer.core_frames) for answer, _ in answers),
        visual_tokens=_mean(_visual_tokens(answer) for answer, _ in answers),
        tflops=_mean(answer.usage.tflops.get("reasoner") for answer, _ in answers),
        tflops_all=_mean(_all_tflops(answer) for answer, _ in answers),
        tflops_at_10=_mean(_all_tflops(answer, QUESTIONS_PER_CLIP) for answer, _ in answers),
        core_precision=_mean(each.core_precision for each in scores),
        core_recall=_mean(each.core_recall for each in scores),
        core_reach=_mean(each.core_reach for each in scores),
        hit_at_1=_mean(each.hits >= 1 for each in scores if each.needed >= 1),
        hit_at_2=_mean(each.hits >= 2 for each in scores if each.needed >= 2),
        evidence_precision=_mean(fact for each in scores for fact in each.facts),
        caption_precision=_mean(caption for each in scores for caption in each.captions),
        seconds=fmean(sample.elapsed for sample in samples),
    )


def task_accuracies(samples: Sequence[Sample]) -> list[TaskAccuracy]:
    """Return the accuracy of each task in the order of `Task`, of other tasks, and of categories.

    A question counts in its task and in each of its categories (`Question.categories`).
    """
    accuracies = []
    categories = sorted({category for sample in samples for category in sample.question.categories})
    for task in dict.fromkeys([*Task, *(sample.question.task for sample in samples), *categories]):
        members = [sample for sample in samples if task in (sample.question.task, *sample.question.categories)]
        if task and members:
            low, high = _interval(members)
            accuracy = fmean(sample.scores.correct for sample in members)
            accuracies.append(TaskAccuracy(task=task, n=len(members), accuracy=accuracy, accuracy_low=low, accuracy_high=high))
    return accuracies


def _visual_tokens(answer: Answer) -> int | None:
    """Return the visual tokens of the reasoner's last prompt."""
    return next((step.tokens_visual for step in reversed(answer.trace) if step.role == "reasoner"), None)


def _official(samples: Sequence[Sample]) -> float | None:
    """Return the accuracy by the authors' rule, errors counting as wrong.

    None if no reply was written freely.
    """
    scores = [sample.scores.official for sample in samples]
    return None if all(correct is None for correct in scores) else fmean(bool(correct) for correct in scores)


def _all_tflops(answer: Answer, questions: int = 1) -> float | None:
    """Return the operations of all roles if so many questions share the captions.

    None if nothing is known.
    """
    paid, saved = answer.usage.tflops, answer.usage.tflops_saved
    captions = paid.get("captioner", 0.0) + saved.get("captioner", 0.0)
    rest = sum(cost for role, cost in paid.items() if role != "captioner")
    return captions / questions + rest or None


def clusters(samples: Sequence[Sample]) -> list[Hashable]:
    """Return the cluster of each sample, for intervals.

    Questions are in one cluster if they have the same videos, also if they are about different
    parts of them, or the same group, or if a chain of such questions connects them: in NLVR2 all
    sentences about a set of images are. Questions that share one of several videos need not be
    (`shared_files`).
    """
    first = dict[Hashable, Hashable]()

    def root(key: Hashable) -> Hashable:
        while first.setdefault(key, key) != key:
            key = first[key]
        return key

    videos = [tuple(split_segment(visual)[0] for visual in sample.question.visuals) for sample in samples]
    for sample, video in zip(samples, videos, strict=True):
        if sample.question.group is not None:
            first[root(video)] = root(sample.question.group)
    return [root(video) for video in videos]


def shared_files(samples: Sequence[Sample]) -> list[frozenset[str]]:
    """Return the files of each sample, for intervals: two questions may share one of them.

    Empty if every question has one visual, because clusters say the same then.
    """
    if all(len(sample.question.visuals) == 1 for sample in samples):
        return []
    return [frozenset(split_segment(visual)[0] for visual in sample.question.visuals) for sample in samples]


def _interval(samples: Sequence[Sample]) -> tuple[float, float]:
    return interval([sample.scores.correct for sample in samples], clusters(samples), shared_files(samples))


def _consistency(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return the share of consistent groups, its interval and the number of groups."""
    consistent, cluster_of, files_of = dict[str, bool](), dict[str, Hashable](), dict[str, frozenset[str]]()
    files = shared_files(samples) or [frozenset[str]()] * len(samples)
    for sample, cluster, here in zip(samples, clusters(samples), files, strict=True):
        if (group := sample.question.group) is not None:
            consistent[group] = consistent.get(group, True) and sample.scores.correct
            cluster_of[group] = cluster
            files_of[group] = files_of.get(group, frozenset()) | here
    if not consistent:
        return {}
    low, high = interval(list(consistent.values()), list(cluster_of.values()), list(files_of.values()))
    return {
        "consistency": fmean(consistent.values()),
        "consistency_low": low,
        "consistency_high": high,
        "groups": len(consistent),
    }


def _weighted(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return the weighted accuracy and its interval, that of a ratio, linearized."""
    weights = [sample.question.weight for sample in samples]
    known = [weight for weight in weights if weight is not None]
    if len(known) < len(samples):
        return {}
    total = fmean(known)
    share = fmean(weight * sample.scores.correct for weight, sample in zip(known, samples, strict=True)) / total
    values = [share + weight * (sample.scores.correct - share) / total for weight, sample in zip(known, samples, strict=True)]
    low, high = mean_interval(values, clusters(samples), within=(0.0, 1.0))
    return {"weighted_accuracy": share, "weighted_accuracy_low": low, "weighted_accuracy_high": high}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else None
