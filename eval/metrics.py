"""Scores of single answers, and the flat, named numbers of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from pydantic import Field

from espresso.schema import Answer, CoreFrame, Question, Record, Task, Truth
from eval.stats import interval

HITS = (1, 2)
QUESTIONS = 10
"""About one clip, over which the cost of its captions is spread."""


class Scores(Record):
    """What one answer is worth.

    chosen: the option that it comes down to, None where it comes down to none, or the question has no options. correct: whether
    that is the right one. official: the same by the rule of VideoEspresso's authors, where it was written freely.
    core_precision: share of its core frames that lie within some true span; None where it has none. core_recall: share of the
    true spans that hold one of its core frames. core_reach: share of the stretch from the first true span's middle to the last
    one's that its core frames reach over. All are None where no truth is known. hits, needed: those spans and all of
    them, as numbers. facts, captions: whether each fact that its evidence tells, and each caption, is true.
    """

    correct: bool
    chosen: str | None = None
    official: bool | None = None
    core_precision: float | None = None
    core_recall: float | None = None
    core_reach: float | None = None
    hits: int = 0
    needed: int = 0
    facts: tuple[bool, ...] = ()
    captions: tuple[bool, ...] = ()


class Sample(Record):
    """One line of `samples.jsonl`: a question and what became of it.

    question: with reference and truth, options in their own order. order: positions of the options as they were shown. answer:
    as given, its letters in the order shown; None where an error came instead, which `error` tells in a sentence. elapsed:
    seconds since the run's last sample was done, so that they add up to the run's, however many questions are under way at
    once.
    """

    id: str
    question: Question
    order: tuple[int, ...]
    answer: Answer | None = None
    scores: Scores = Scores(correct=False)
    error: str | None = None
    elapsed: float = 0.0


class TaskAccuracy(Record):
    """Accuracy of one task, with its 95 % interval."""

    task: Task | str = Field(union_mode="left_to_right")
    n: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float


Metrics = dict[str, int | float | None]


def score(
    question: Question,
    answer: Answer,
    chosen: str | None,
    facts: Iterable[bool] = (),
    captions: Iterable[bool] = (),
    official: bool | None = None,
) -> Scores:
    """Score one answer against the reference and the truth. chosen: see `Scores`; words are compared, not letters."""
    scores = Scores(
        correct=chosen is not None and chosen == question.answer,
        chosen=chosen,
        official=official,
        facts=tuple(facts),
        captions=tuple(captions),
    )
    if question.truth is None or not question.truth.spans:
        return scores
    precision, hits = _core(answer.core_frames, question.truth)
    needed = len(question.truth.spans)
    found = {"core_precision": precision, "core_recall": hits / needed, "hits": hits, "needed": needed}
    return scores.model_copy(update={**found, "core_reach": _reach(answer.core_frames, question.truth)})


def _core(chosen: Sequence[CoreFrame], truth: Truth) -> tuple[float | None, int]:
    """Share of the chosen frames that are needed, and number of needed spans that hold one."""
    frames = [core.frame for core in chosen]
    inside = sum(any(span.holds(frame) for span in truth.spans) for frame in frames)
    hits = sum(any(span.holds(frame) for frame in frames) for span in truth.spans)
    return inside / len(frames) if frames else None, hits


def _reach(chosen: Sequence[CoreFrame], truth: Truth) -> float:
    """Share of the time from the first needed moment to the last that lies between chosen frames, a visual at a time."""
    wanted = covered = 0.0
    for visual in {span.visual for span in truth.spans}:
        middles = [(span.start + span.end) / 2 for span in truth.spans if span.visual == visual]
        times = [core.time for core in chosen if core.frame.visual == visual]
        low, high = min(middles), max(middles)
        wanted += high - low
        covered += max(0.0, min(high, max(times)) - max(low, min(times))) if times else 0.0
    return covered / wanted if wanted else float(any(span.holds(core.frame) for span in truth.spans for core in chosen))


def metrics(samples: Sequence[Sample]) -> Metrics:
    """Sum up a run of at least one sample; None where nothing was measured. An error counts as a wrong answer.

    accuracy, accuracy_low, accuracy_high: share of right answers and its 95 % interval, clustered by video. n, errors: counts.
    Means over the answered questions: frames (core frames), visual_tokens (of the reasoner's last prompt; as in the paper,
    captioner and earlier prompts are left out), tflops (10^12 operations of the reasoner, evidence and answer, as in the paper),
    tflops_all (captioner and selector too, of a first question about a clip: its captions count, known or not), tflops@10 (the
    same where ten questions about a clip share its captions), core_precision, core_recall, core_reach, seconds (wall time of
    the run). official_accuracy: by the rule of VideoEspresso's authors, of answers written freely. hit@k: share of the questions
    that need k frames or more for which k were found. evidence_precision: share of all facts told in evidence that are true;
    caption_precision: of all captions.
    """
    answers = [(sample.answer, sample.scores) for sample in samples if sample.answer]
    scores = [scored for _, scored in answers]
    facts = [fact for scored in scores for fact in scored.facts]
    low, high = _interval(samples)
    return {
        "accuracy": fmean(sample.scores.correct for sample in samples),
        "accuracy_low": low,
        "accuracy_high": high,
        "official_accuracy": _official(samples),
        "n": len(samples),
        "errors": len(samples) - len(answers),
        "frames": _mean(len(answer.core_frames) for answer, _ in answers),
        "visual_tokens": _mean(answer.trace[-1].tokens_visual for answer, _ in answers),
        "tflops": _mean(answer.usage.tflops.get("reasoner") for answer, _ in answers),
        "tflops_all": _mean(_whole(answer) for answer, _ in answers),
        f"tflops@{QUESTIONS}": _mean(_whole(answer, QUESTIONS) for answer, _ in answers),
        "core_precision": _mean(scored.core_precision for scored in scores),
        "core_recall": _mean(scored.core_recall for scored in scores),
        "core_reach": _mean(scored.core_reach for scored in scores),
        **{f"hit@{k}": _mean(scored.hits >= k for scored in scores if scored.needed >= k) for k in HITS},
        "evidence_precision": _mean(facts),
        "caption_precision": _mean(read for scored in scores for read in scored.captions),
        "seconds": fmean(sample.elapsed for sample in samples),
    }


def _official(samples: Sequence[Sample]) -> float | None:
    """Accuracy by the authors' rule, errors being wrong as ever; None where nothing was written freely."""
    given = [sample.scores.official for sample in samples]
    return None if all(right is None for right in given) else fmean(bool(right) for right in given)


def _whole(answer: Answer, questions: int = 1) -> float | None:
    """What all roles computed for an answer, where so many questions share the captions; None where nothing is known."""
    paid, saved = answer.usage.tflops, answer.usage.tflops_saved
    captions = paid.get("captioner", 0.0) + saved.get("captioner", 0.0)
    rest = sum(cost for role, cost in paid.items() if role != "captioner")
    return captions / questions + rest or None


def by_task(samples: Sequence[Sample]) -> list[TaskAccuracy]:
    """Accuracy of each task there are questions of, in the order of `Task`, those of other benchmarks in theirs."""
    rows = []
    for task in dict.fromkeys([*Task, *(sample.question.task for sample in samples)]):
        members = [sample for sample in samples if sample.question.task == task]
        if task and members:
            low, high = _interval(members)
            share = fmean(sample.scores.correct for sample in members)
            rows.append(TaskAccuracy(task=task, n=len(members), accuracy=share, accuracy_low=low, accuracy_high=high))
    return rows


def _interval(samples: Sequence[Sample]) -> tuple[float, float]:
    return interval([sample.scores.correct for sample in samples], [sample.question.visuals for sample in samples])


def _mean(values: Iterable[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else None
