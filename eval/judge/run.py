"""Judge the answers of a run: VideoEspresso's subjective benchmark (Table 2: logic, factuality, accuracy, conciseness, overall).

`judge_run(Path("runs/world-test-tiny-selector-420"))` is what `espresso judge run` prints. `judge.json` says who judged and how,
`verdicts.jsonl` has a line for each answer; both lie in the run's folder, or for a second judge in one of their own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

import prompts
from agents.answer.context import Run, Shown
from agents.batch import AT_ONCE
from agents.judge import MAX_TOKENS, SAMPLES, TEMPERATURE, Judge
from espresso import profiles
from espresso.cache import Cache
from espresso.errors import DataError, EspressoError, MediaError, ProfileError, ServerDownError
from espresso.models import Picture, Roles, connect
from espresso.profiles import Profile, ServerRole
from eval.judge.budget import Bill, Prices, Purse, SpentError, Tokens
from eval.judge.results import LINES, Judging, Row, Summary, summary
from eval.log.jsonl import Ledger
from eval.log.run_folder import run_in, samples_in
from eval.metrics import Sample
from eval.run import Progress, environment

REPLY_TOKENS = 300
"""What a reply mostly takes; what it may take at most is `MAX_TOKENS`."""
TOLD_ABOVE = 50
"""So many answers are judged without saying beforehand what they will cost."""
_AGAIN_TOKENS = 128  # how a reply that cannot be read is asked for once more


@dataclass(frozen=True)
class Estimate:
    """What is about to be asked. tokens: read counted from above, as servers are. dollars: None where no prices are known."""

    answers: int
    tokens: Tokens
    dollars: float | None


def judge_run(
    folder: Path,
    *,
    profile: str | Path | Profile | None = None,
    samples: int = SAMPLES,
    temperature: float = TEMPERATURE,
    seed: int = 0,
    frames: bool = False,
    max_cost: float | None = None,
    limit: int | None = None,
    out: Path | None = None,
    roles: Roles | None = None,
    on_estimate: Callable[[Estimate], None] = lambda estimate: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Judge each answer of a run that has a reference, or go on with a judging that was interrupted; returns its numbers.

    profile: whose judge; itself, its name or file; None is ESPRESSO_PROFILE, else `tiny`. samples, temperature, seed: how often
    it is asked about an answer, and how. frames: show it the core frames. max_cost: dollars that this call may spend. limit: the
    first so many answers. out: where the verdicts go, the run's folder by default. roles: connected models in place of the
    profile's. on_estimate: called before more than 50 answers are put to a server.

    An answer that cannot be scored keeps its reason, and is judged again when the judging is gone on with.
    Raises DataError for a folder that holds no run, no answer with a reference or another judging; ProfileError for a profile
    without a judge, or without prices where they are needed; ServerDownError; SpentError where `max_cost` is reached; and
    EspressoError where not one answer could be scored.
    """
    if samples < 1 or (temperature == 0 and samples > 1):
        raise DataError(f"{samples} samples at temperature {temperature:g} tell no more than one. Give --samples 1.")
    record, answered = run_in(folder), samples_in(folder)
    chosen = [sample for sample in answered if sample.answer and sample.question.answer is not None]
    if not chosen:
        raise DataError(f"{folder}: no answer in it has a reference to be judged by. Give a run of questions with answers.")
    left_out, chosen = len(answered) - len(chosen), chosen[:limit]
    named = profile or os.environ.get("ESPRESSO_PROFILE") or "tiny"
    settings = named if isinstance(named, Profile) else profiles.load(named)
    prices = _prices(settings)
    if max_cost is not None and prices is None:
        raise ProfileError(f"profile {settings.name}: its judge has no prices to hold to --max-cost. Add price_in and price_out.")
    models, cache = roles or connect(settings), Cache()
    judge = Judge.of(settings, models, samples=samples, temperature=temperature, seed=seed, cache=cache)
    _ = judge.model.context_length  # a local model is loaded before anything is written
    configuration = Judging(
        judge=judge.name,
        prompt=prompts.digest("judge", style=judge.style),
        samples=samples,
        temperature=temperature,
        seed=seed,
        frames=frames,
        run=sha256(record.configuration.model_dump_json().encode()).hexdigest()[:12],
    )
    place, done = out or folder, lambda row: row.verdict is not None
    with Ledger(place, "judge", configuration, environment(), lines=LINES, entry=Row, done=done) as ledger:
        work = _Work(judge, settings, models, frames, prices, None if max_cost is None else Purse(max_cost))
        known = {row.id: row for row in ledger.entries}
        left = [sample for sample in chosen if sample.id not in known]
        if len(left) > TOLD_ABOVE and isinstance(settings.judge, ServerRole):
            on_estimate(work.estimate(left))

        async def judge_all() -> list[Row]:
            try:
                return await _judge_all(left, work, ledger, len(chosen), on_progress)
            finally:
                if roles is None:
                    await models.aclose()

        try:
            known |= {row.id: row for row in asyncio.run(judge_all())}
        finally:
            cache.close()
    rows = [(sample, known[sample.id]) for sample in chosen]
    return summary(place, configuration, rows, left_out, prices, note=cache.trouble)


async def _judge_all(
    left: Sequence[Sample], work: _Work, ledger: Ledger[Row], total: int, on_progress: Callable[[Progress], None]
) -> list[Row]:
    """Judge many at the same time, and keep each verdict as soon as it is there. Returns the new ones.

    Raises ServerDownError, SpentError, and EspressoError where not one of them could be scored.
    """
    rows: list[Row] = []
    gate = asyncio.Semaphore(AT_ONCE)

    def told() -> Progress:
        return Progress("judging", total - len(left) + len(rows), total, errors=sum(row.verdict is None for row in rows))

    async def judged(sample: Sample) -> None:
        async with gate:
            row = await work.row(sample)
        ledger.append(row)
        rows.append(row)
        on_progress(told())

    on_progress(told())
    try:
        async with asyncio.TaskGroup() as tasks:
            for sample in left:
                tasks.create_task(judged(sample))
    except ExceptionGroup as errors:
        error, kept = errors.exceptions[0], told().done - told().errors
        if isinstance(error, ServerDownError | SpentError):
            raise type(error)(f"{error} {kept} of {total} verdicts are kept: run the same again to go on.") from None
        raise error from None
    if rows and not any(row.verdict for row in rows):
        raise EspressoError(f"{len(rows)} answers were judged and none could be scored; the last: {rows[-1].error}")
    return rows


@dataclass(frozen=True)
class _Work:
    """What answers are judged with."""

    judge: Judge
    settings: Profile
    roles: Roles
    frames: bool
    prices: Prices | None
    purse: Purse | None

    def estimate(self, samples: Sequence[Sample]) -> Estimate:
        """Reckon what these answers will cost, if each reply can be read."""
        times = self.judge.samples
        asked = Tokens(times * sum(map(self._tokens, samples)), times * REPLY_TOKENS * len(samples))
        return Estimate(len(samples), asked, self.prices.dollars(asked) if self.prices else None)

    async def row(self, sample: Sample) -> Row:
        """Judge one answer. Raises ServerDownError and SpentError."""
        async with self.purse.bill(self._most(sample)) if self.purse else nullcontext(Bill(0)) as bill:
            try:
                frames = await self._frames(sample) if self.frames else []
            except MediaError as error:
                return Row(id=sample.id, verdict=None, faults=(str(error),))
            judged = await self.judge.score(*_said(sample), frames)
            bill.paid = self.prices.dollars(Tokens(judged.tokens_in, judged.tokens_out)) if self.prices else 0.0
            return Row(id=sample.id, **dict(judged))

    async def _frames(self, sample: Sample) -> list[Shown]:
        assert sample.answer
        run = Run(self.settings, roles=self.roles)
        await run.open(sample.question.visuals)
        return await run.show([core.frame for core in sample.answer.core_frames])

    def _tokens(self, sample: Sample) -> int:
        """Count a prompt's tokens; of a picture a server is known by the most that one becomes, whatever it shows."""
        cores = sample.answer.core_frames if self.frames and sample.answer else ()
        blank = Picture(np.zeros((1, 1, 3), np.uint8))
        prompt = self.judge.prompt(*_said(sample), [Shown(core.frame, blank) for core in cores])
        return self.judge.model.count_tokens(prompt.messages).total

    def _most(self, sample: Sample) -> float:
        """Dollars that an answer costs where no reply can be read the first time, and each is as long as it may be."""
        assert self.prices
        times, prompt = self.judge.samples, self._tokens(sample)
        return self.prices.dollars(Tokens(times * (2 * prompt + MAX_TOKENS + _AGAIN_TOKENS), times * 2 * MAX_TOKENS))


def _said(sample: Sample) -> tuple[str, str, str]:
    """Question, reference and answer of a sample that has them."""
    assert sample.answer
    assert sample.question.answer is not None
    return sample.question.text, sample.question.answer, sample.answer.text


def _prices(settings: Profile) -> Prices | None:
    role = settings.judge
    if not isinstance(role, ServerRole) or role.price_in is None or role.price_out is None:
        return None
    return Prices(role.price_in, role.price_out)
