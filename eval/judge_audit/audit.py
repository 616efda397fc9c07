"""Audit a judge: measure how reliable it is on answers of known quality.

VideoEspresso's Table 2 depends on a judge but does not say how reliable it is. `audit(...)` is
`espresso judge audit`. Its result is written as `audit.json` and as one page, `audit.html`
(`eval.judge_audit.report`). Replies are cached, so an interrupted audit pays for none of them
twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import prompts
from agents.judge import Judge
from agents.session import Session
from espresso.errors import DataError, EspressoError
from espresso.options import AUDIT_QUESTIONS, JUDGE_SAMPLES, JUDGE_TEMPERATURE
from espresso.profiles import Profile
from espresso.schema import Record
from eval.judge.run import check_sampling
from eval.judge_audit import metrics
from eval.judge_audit.cases import JudgeCase, make_cases
from eval.judge_audit.human_preferences import HumanAgreement, HumanPair, human_agreement, read_pairs
from eval.judge_audit.metrics import Correlation, Mean, Share
from eval.judge_audit.pairwise import (
    OrderBias,
    RunAnswers,
    SelfPreference,
    compare_human_pairs,
    order_bias,
    self_preference,
)
from eval.judge_audit.progress import with_progress
from eval.run import RunProgress
from eval.run_folder import read_run, read_samples

CANNOT_COMPARE = "this judge scores one answer at a time and cannot compare two"


class Audit(Record):
    """The findings about one judge."""

    judge: str
    """Name of the judge, which identifies its weights."""

    prompt: str
    """Hash of the prompt template."""

    samples: int
    """Replies for each answer; their median is the score."""

    temperature: float
    """Sampling temperature."""

    questions: int
    """Number of questions."""

    answers: int
    """Number of answers that the judge scored."""

    unscored: int
    """Number of answers without a score, because no reply could be parsed."""

    ordered: tuple[Share, ...]
    """How often a correct answer ranks above a perturbed one (`metrics.ranking_accuracy`)."""

    monotone: tuple[Share, ...]
    """How often a stronger perturbation scores lower (`metrics.monotonicity`)."""

    correlation: tuple[Correlation, ...]
    """Rank correlation with the deserved scores, for each criterion with different scores."""

    resistance: tuple[Mean, ...]
    """How much an injection changes the overall score (`metrics.resistance`)."""

    paraphrase: Mean
    """How much a paraphrase changes the overall score."""

    length: Correlation | None
    """Correlation of score and length (`metrics.length_correlation`); None if undefined."""

    rambling: Mean
    """How much rambling changes the accuracy score."""

    repeated: dict[str, float | None]
    """Criterion -> Krippendorff's alpha between the samples of an answer."""

    judged: tuple[int, ...]
    """Histogram of the judge's overall scores, 1 to 10."""

    deserved: tuple[int, ...]
    """Histogram of the deserved overall scores, 1 to 10."""

    order: OrderBias | None = None
    """The order bias; None if not measured."""

    preference: SelfPreference | None = None
    """The preference for the answers of a run; None if not measured."""

    labels: tuple[HumanAgreement, ...] = ()
    """Agreement with human preferences, one entry for each file."""

    not_measured: dict[str, str]
    """What was not measured -> why."""


def audit(
    *,
    session: Session | None = None,
    profile: str | Path | Profile | None = None,
    questions: int = AUDIT_QUESTIONS,
    samples: int = JUDGE_SAMPLES,
    temperature: float = JUDGE_TEMPERATURE,
    answers: Path | None = None,
    label_files: Sequence[Path] = (),
    on_progress: Callable[[RunProgress], None] = lambda progress: None,
) -> Audit:
    """Audit the judge of a profile.

    Args:
        session: the session to use; it stays open. None opens one for the profile.
        profile: a profile, its name or file, if no session is given. None is ESPRESSO_PROFILE, else
            `tiny`.
        questions: questions from the world's test split; each gives about 25 answers.
        samples: replies for each answer; the median counts.
        temperature: sampling temperature.
        answers: folder of a run of the world, to measure whether the judge prefers its answers.
        label_files: files of human preferences (`eval.judge_audit.human_preferences`).
        on_progress: called after each reply.

    Raises:
        DataError: there are fewer than two questions, more than one sample is requested at
            temperature 0, or `answers` or a label file cannot be read.
        ProfileError: the profile has no judge.
        ModelError: the judge cannot be loaded, or its server does not answer.
        EspressoError: not a single answer could be scored.
    """
    if questions < 2:
        raise DataError(f"{questions} questions are too few for an audit. Give --questions 2 or more.")
    check_sampling(samples, temperature)
    human_pairs = {file.name: read_pairs(file) for file in label_files}
    run_answers = _read_answers(answers) if answers else None
    with nullcontext(session) if session else Session(profile) as opened:
        judge = Judge.from_session(opened, samples=samples, temperature=temperature)
        _ = judge.model.context_length  # loads a local model, so that a failure comes first
        return opened.run(_audit(judge, questions, run_answers, human_pairs, on_progress))


def _read_answers(folder: Path) -> RunAnswers:
    """Read the answers to questions with options and a reference; DataError if there are none."""
    model = read_run(folder).configuration.models["reasoner"]
    samples = [sample for sample in read_samples(folder) if sample.answer and sample.question.options and sample.question.answer]
    if not samples:
        raise DataError(f"{folder}: no answer has options and a reference. Give a run of the world.")
    return RunAnswers(folder.name, model, samples)


async def _audit(
    judge: Judge,
    questions: int,
    run_answers: RunAnswers | None,
    human_pairs: dict[str, list[HumanPair]],
    on_progress: Callable[[RunProgress], None],
) -> Audit:
    async def score(case: JudgeCase) -> JudgeCase:
        return await case.score_with(judge)

    cases = await with_progress(make_cases(questions), score, "judging", on_progress)
    scores = [case.overall for case in cases if case.overall is not None]
    if not scores:
        last = cases[-1].result
        raise EspressoError(f"none of {len(cases)} answers could be scored; the last: {last and last.error}")
    order, preference, not_measured = None, None, dict[str, str]()
    if judge.compares:
        order = await order_bias(judge, cases, on_progress)
        human_pairs = {file: await compare_human_pairs(judge, pairs, on_progress) for file, pairs in human_pairs.items()}
    else:
        not_measured["order bias"] = CANNOT_COMPARE
        if human_pairs:
            not_measured["agreement of this judge with people"] = CANNOT_COMPARE
    if run_answers:
        preference = await self_preference(judge, run_answers, on_progress)
    else:
        not_measured["self-preference"] = "needs answers of the judge's own model: give the folder of a run with --answers"
    return Audit(
        judge=judge.name,
        prompt=prompts.digest("judge", style=judge.style),
        samples=judge.samples,
        temperature=judge.temperature,
        questions=questions,
        answers=len(cases),
        unscored=len(cases) - len(scores),
        ordered=tuple(metrics.ranking_accuracy(cases)),
        monotone=tuple(metrics.monotonicity(cases)),
        correlation=tuple(metrics.correlation_with_truth(cases)),
        resistance=tuple(metrics.resistance(cases)),
        paraphrase=metrics.paraphrase_effect(cases),
        length=metrics.length_correlation(cases),
        rambling=metrics.rambling_effect(cases),
        repeated=metrics.sample_agreement(cases),
        judged=metrics.histogram(scores),
        deserved=metrics.histogram(case.variant.verdict.overall for case in cases),
        order=order,
        preference=preference,
        labels=tuple(human_agreement(file, pairs) for file, pairs in human_pairs.items()),
        not_measured=not_measured,
    )
