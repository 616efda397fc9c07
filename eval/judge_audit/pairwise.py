"""Findings from pairs of answers: order bias, self-preference and agreement with people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from agents.judge import Judge, PairResult
from espresso.schema import Record
from eval.judge_audit.cases import JudgeCase, by_question, correct_cases
from eval.judge_audit.human_preferences import HumanPair
from eval.judge_audit.metrics import Cluster, Mean, Share, score_difference, share_of
from eval.judge_audit.progress import with_progress
from eval.run import RunProgress
from eval.sample import Sample

NO_REFERENCE = "(none is given)"
"""Stands in for the reference in the prompt, for questions without one."""


class OrderBias(Record):
    """How much the position of an answer decides which one the judge prefers."""

    flips: Share
    """How often the two orders disagree."""

    first: Share
    """How often the first position wins, ties left out; 0.5 is unbiased."""


class SelfPreference(Record):
    """How much higher a judge scores the answers of a run than other answers of equal quality."""

    run: str
    """Name of the run's folder."""

    model: str
    """The model that gave the answers."""

    own: bool
    """Whether this model is also the judge."""

    difference: Mean
    """Score of the run's answer minus score of the other answer."""


@dataclass(frozen=True)
class RunAnswers:
    """The answers of a run."""

    run: str
    """Name of the run's folder."""

    model: str
    """The model that gave the answers."""

    samples: Sequence[Sample]
    """Answered samples with options and a reference."""


async def order_bias(judge: Judge, cases: Sequence[JudgeCase], on_progress: Callable[[RunProgress], None]) -> OrderBias:
    """Compare each reference with its paraphrase and with a perturbed answer, in both orders.

    Args:
        judge: a judge that can compare two answers.
        cases: the cases of the audit.
        on_progress: called after each pair.

    Raises:
        ServerDownError: the judge's server does not answer.
    """
    pairs = list[tuple[JudgeCase, JudgeCase]]()
    for group in by_question(cases):
        reference, paraphrase = correct_cases(group)
        perturbed = next(case for case in group if case.variant.grade)
        pairs += [(reference, paraphrase), (reference, perturbed)]

    async def compare(pair: tuple[JudgeCase, JudgeCase]) -> PairResult:
        one, other = pair
        question = one.question
        return await judge.compare(question.text, str(question.answer), one.variant.answer, other.variant.answer)

    results = await with_progress(pairs, compare, "comparing", on_progress)
    parsed = [(result, one.cluster) for result, (one, _) in zip(results, pairs, strict=True) if result.better]
    positions = [
        (position == "first", cluster) for result, cluster in parsed for position in result.positions if position != "tie"
    ]
    return OrderBias(
        flips=share_of("orders disagree", None, [(result.flipped, cluster) for result, cluster in parsed]),
        first=share_of("first position wins", None, positions),
    )


async def self_preference(judge: Judge, answers: RunAnswers, on_progress: Callable[[RunProgress], None]) -> SelfPreference:
    """Score a run's answers and other answers of equal quality.

    A correct answer is compared with the reference, a wrong one with another wrong option.

    Args:
        judge: the judge.
        answers: the run's answers.
        on_progress: called after each pair.

    Raises:
        ServerDownError: the judge's server does not answer.
    """
    pairs = list[tuple[Sample, str, str]]()
    for sample in answers.samples:
        assert sample.answer
        question, given = sample.question, sample.answer.text
        correct = given == question.answer
        wrong = [option for option in question.options or () if option not in (given, question.answer)]
        if correct or wrong:
            pairs.append((sample, given, str(question.answer) if correct else wrong[0]))

    async def score(pair: tuple[Sample, str, str]) -> tuple[float, float, Cluster] | None:
        sample, *texts = pair
        question, reference = sample.question.text, str(sample.question.answer)
        results = [await judge.score(question, reference, text) for text in texts]
        own, other = (result.verdict.overall if result.verdict else None for result in results)
        return None if own is None or other is None else (own, other, sample.question.visuals)

    scores = await with_progress(pairs, score, "judging the run", on_progress)
    difference = score_difference([pair for pair in scores if pair])
    return SelfPreference(run=answers.run, model=answers.model, own=answers.model == judge.name, difference=difference)


async def compare_human_pairs(
    judge: Judge, pairs: Sequence[HumanPair], on_progress: Callable[[RunProgress], None]
) -> list[HumanPair]:
    """Return the pairs with the choices of this judge added.

    Args:
        judge: a judge that can compare two answers.
        pairs: pairs with the choices of people.
        on_progress: called after each pair.

    Raises:
        ServerDownError: the judge's server does not answer.
    """

    async def compare(pair: HumanPair) -> PairResult:
        return await judge.compare(pair.question, NO_REFERENCE, pair.first, pair.second)

    results = await with_progress(pairs, compare, "comparing human pairs", on_progress)
    return [
        replace(pair, judges=pair.judges | {judge.name: result.better}) if result.better else pair
        for pair, result in zip(pairs, results, strict=True)
    ]
