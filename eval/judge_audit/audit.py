"""How far can a judge be trusted? Try it on answers of the world whose worth is known; `audit(...)` is `espresso judge audit`.

VideoEspresso's Table 2 rests on a judge and does not say how good it is. The result is `audit.json`, and `audit.html` on one page
(`eval.judge_audit.report`). Replies are kept in the cache, so that an audit that was interrupted pays for none of them twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import prompts
from agents.judge import SAMPLES, TEMPERATURE, Judge
from espresso import profiles
from espresso.cache import Cache
from espresso.errors import DataError, EspressoError
from espresso.models import Roles, connect
from espresso.profiles import Profile
from espresso.schema import Record
from eval.judge_audit import human_preferences as labels
from eval.judge_audit import metrics as trust
from eval.judge_audit import pairwise as rivals
from eval.judge_audit.cases import trials
from eval.judge_audit.human_preferences import Agreement, Pair
from eval.judge_audit.metrics import Correlation, Mean, Share
from eval.judge_audit.pairwise import Order, Preference
from eval.log.run_folder import run_in, samples_in
from eval.metrics import Sample
from eval.run import Progress

QUESTIONS = 40
NO_PAIRS = "this judge scores one answer at a time and has not learnt to compare two"


class Audit(Record):
    """A judge's audit.

    judge, prompt, samples, temperature: who judged, and how; the median of the samples is its score. questions, answers,
    unscored: how many were put to it, and for how many it gave no score. ordered, monotone, correlation, resistance, paraphrase,
    length, rambling, repeated: see `eval.judge_audit.metrics`. judged, deserved: how often an overall of 1 to 10 was given, and how often
    deserved. order, preference: None where not measured; not_measured: what was not -> why. labels: people and judges.
    """

    judge: str
    prompt: str
    samples: int
    temperature: float
    questions: int
    answers: int
    unscored: int
    ordered: tuple[Share, ...]
    monotone: tuple[Share, ...]
    correlation: tuple[Correlation, ...]
    resistance: tuple[Mean, ...]
    paraphrase: Mean
    length: Correlation | None
    rambling: Mean
    repeated: dict[str, float | None]
    judged: tuple[int, ...]
    deserved: tuple[int, ...]
    order: Order | None = None
    preference: Preference | None = None
    labels: tuple[Agreement, ...] = ()
    not_measured: dict[str, str]


def audit(
    *,
    profile: str | Path | Profile | None = None,
    questions: int = QUESTIONS,
    samples: int = SAMPLES,
    temperature: float = TEMPERATURE,
    answers: Path | None = None,
    label_files: Sequence[Path] = (),
    roles: Roles | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Audit:
    """Audit a profile's judge.

    profile: itself, its name or file; None is ESPRESSO_PROFILE, else `tiny`. questions: of the world's test split; each gives
    some twenty-five answers. samples, temperature: how the judge is asked, as in `judge_run`. answers: a run of the world, to
    see whether the judge prefers its answers. label_files: people's preferences, see `eval.judge_audit.human_preferences`. roles: connected models in
    place of the profile's. Raises DataError, ProfileError, ModelError, and EspressoError where not one answer could be scored.
    """
    if questions < 2:
        raise DataError(f"{questions} questions tell nothing of a judge. Give --questions 2 or more.")
    if samples < 1 or (temperature == 0 and samples > 1):
        raise DataError(f"{samples} samples at temperature {temperature:g} tell no more than one. Give --samples 1.")
    people = {file.name: labels.read(file) for file in label_files}
    named = profile or os.environ.get("ESPRESSO_PROFILE") or "tiny"
    settings = named if isinstance(named, Profile) else profiles.load(named)
    run = (answers, _model(answers), _answered(answers)) if answers else None
    models, cache = roles or connect(settings), Cache()
    judge = Judge.of(settings, models, samples=samples, temperature=temperature, cache=cache)
    _ = judge.model.context_length  # a local model is loaded before anything else is done

    async def work() -> Audit:
        try:
            return await _audit(judge, questions, run, people, on_progress)
        finally:
            if roles is None:
                await models.aclose()

    try:
        return asyncio.run(work())
    finally:
        cache.close()


def _model(folder: Path) -> str:
    """Who gave a run's answers."""
    return run_in(folder).configuration.models["reasoner"]


def _answered(folder: Path) -> list[Sample]:
    """A run's answers that have options and a reference. Raises DataError where it has none."""
    found = [sample for sample in samples_in(folder) if sample.answer and sample.question.options and sample.question.answer]
    if not found:
        raise DataError(f"{folder}: no answer in it has options and a reference. Give a run of the world.")
    return found


async def _audit(
    judge: Judge,
    questions: int,
    run: tuple[Path, str, list[Sample]] | None,
    people: dict[str, list[Pair]],
    on_progress: Callable[[Progress], None],
) -> Audit:
    tried = await rivals.each(trials(questions), lambda trial: trial.put(judge), "judging", on_progress)
    scores = [trial.overall for trial in tried if trial.overall is not None]
    if not scores:
        said = tried[-1].judged
        raise EspressoError(f"{len(tried)} answers were judged and none could be scored; the last: {said and said.error}")
    order, preference, missing = None, None, dict[str, str]()
    if judge.style == "tiny":
        missing["order bias"] = NO_PAIRS
    else:
        order = await rivals.order(judge, tried, on_progress)
        people = {file: await rivals.compared(judge, pairs, on_progress) for file, pairs in people.items()}
    if judge.style == "tiny" and people:
        missing["agreement of this judge with people"] = "it knows the world's questions only, and " + NO_PAIRS
    if run:
        preference = await rivals.preference(judge, *run, on_progress)
    else:
        missing["self-preference"] = "it takes answers of the judge's own model beside others: give a run of it with --answers"
    length, rambling = trust.length(tried)
    return Audit(
        judge=judge.name,
        prompt=prompts.digest("judge", style=judge.style),
        samples=judge.samples,
        temperature=judge.temperature,
        questions=questions,
        answers=len(tried),
        unscored=len(tried) - len(scores),
        ordered=tuple(trust.ordered(tried)),
        monotone=tuple(trust.monotone(tried)),
        correlation=tuple(trust.truthful(tried)),
        resistance=tuple(trust.resistance(tried)),
        paraphrase=trust.paraphrased(tried),
        length=length,
        rambling=rambling,
        repeated=trust.repeated(tried),
        judged=trust.histogram(scores),
        deserved=trust.histogram(trial.version.verdict.overall for trial in tried),
        order=order,
        preference=preference,
        labels=tuple(labels.agreements(file, pairs) for file, pairs in people.items()),
        not_measured=missing,
    )
