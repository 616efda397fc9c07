"""Answers side by side: whether their place decides, whether a judge prefers its own model's, whether it chooses as people do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from agents.batch import in_order
from agents.judge import Judge, Preferred
from espresso.errors import ServerDownError
from espresso.schema import Record
from eval.judge_audit import metrics as trust
from eval.judge_audit.cases import Trial, by_question, rights
from eval.judge_audit.human_preferences import Pair
from eval.judge_audit.metrics import Clip, Mean, Share
from eval.metrics import Sample
from eval.run import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")
NO_REFERENCE = "(none is given)"


class Order(Record):
    """Two answers judged in both orders. flips: how often the place decides. first: how often a choice is the first place's."""

    flips: Share
    first: Share


class Preference(Record):
    """Answers of a run beside others that are as true. own: whether the model that gave them is the judge's."""

    run: str
    model: str
    own: bool
    difference: Mean


async def each(
    items: Sequence[Item], work: Callable[[Item], Awaitable[Result]], doing: str, on_progress: Callable[[Progress], None]
) -> list[Result]:
    """Do the work on many at the same time; results in order. Raises ServerDownError."""
    found = list[Result]()
    on_progress(Progress(doing, 0, len(items)))
    try:
        async with aclosing(in_order(items, work)) as results:
            async for result in results:
                found.append(result)
                on_progress(Progress(doing, len(found), len(items)))
    except ServerDownError as error:
        raise ServerDownError(f"{error} {len(found)} of {len(items)} replies are kept: run the same again to go on.") from None
    return found


async def order(judge: Judge, tried: Sequence[Trial], on_progress: Callable[[Progress], None]) -> Order:
    """Compare each question's right answer with its paraphrase and with a spoilt one, in both orders."""
    pairs = list[tuple[Trial, Trial]]()
    for group in by_question(tried):
        good, other = rights(group)[:2]
        spoilt = next(trial for trial in group if trial.version.grade)
        pairs += [(good, other), (good, spoilt)]

    async def compare(pair: tuple[Trial, Trial]) -> Preferred:
        one, other = pair
        question = one.question
        return await judge.compare(question.text, str(question.answer), one.version.answer, other.version.answer)

    told = await each(pairs, compare, "comparing", on_progress)
    read = [(said, one.clip) for said, (one, _) in zip(told, pairs, strict=True) if said.better]
    places = [(place == "first", clip) for said, clip in read for place in said.places if place != "tie"]
    return Order(
        flips=trust.share("place decides", None, [(said.flipped, clip) for said, clip in read]),
        first=trust.share("first place chosen", None, places),
    )


async def preference(
    judge: Judge, run: Path, model: str, answered: Sequence[Sample], on_progress: Callable[[Progress], None]
) -> Preference:
    """Score a run's answers and others that are as true: the reference for a right one, another wrong option for a wrong one."""
    pairs = list[tuple[Sample, str, str]]()
    for sample in answered:
        assert sample.answer
        question, given = sample.question, sample.answer.text
        right = given == question.answer
        wrong = [option for option in question.options or () if option not in (given, question.answer)]
        if right or wrong:
            pairs.append((sample, given, str(question.answer) if right else wrong[0]))

    async def scored(pair: tuple[Sample, str, str]) -> tuple[float, float, Clip] | None:
        sample, *answers = pair
        question, reference = sample.question.text, str(sample.question.answer)
        judged = [await judge.score(question, reference, answer) for answer in answers]
        own, other = (each.verdict.overall if each.verdict else None for each in judged)
        return None if own is None or other is None else (own, other, sample.question.visuals)

    told = await each(pairs, scored, "judging the run", on_progress)
    difference = trust.preferred([said for said in told if said])
    return Preference(run=run.name, model=model, own=model == judge.name, difference=difference)


async def compared(judge: Judge, pairs: Sequence[Pair], on_progress: Callable[[Progress], None]) -> list[Pair]:
    """The pairs that people judged, with the choices of this judge beside the recorded ones."""
    told = await each(
        pairs,
        lambda pair: judge.compare(pair.question, NO_REFERENCE, pair.first, pair.second),
        "comparing as people did",
        on_progress,
    )
    return [
        replace(pair, judges=pair.judges | {judge.name: said.better}) if said.better else pair
        for pair, said in zip(pairs, told, strict=True)
    ]
