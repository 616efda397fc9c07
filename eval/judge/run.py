"""Judge the answers of a run: VideoEspresso's subjective benchmark (Table 2).

`judge_run(Path("runs/world-test-tiny-selector-420"))` is what `espresso judge run` prints.
`judge.json` records how the answers were judged, and `verdicts.jsonl` has one line per answer. Both
are in the run's folder, or in a folder of their own for a second judge.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

import prompts
from agents.answer.context import AnswerContext, ShownFrame
from agents.batch import bounded
from agents.budget import Budget, BudgetExceededError, Prices, Reservation, TokenUsage
from agents.judge import MAX_TOKENS, Judge
from agents.session import Session
from espresso.errors import DataError, EspressoError, MediaError, ProfileError, ServerDownError
from espresso.log import JsonlLog
from espresso.models import Picture
from espresso.options import JUDGE_SAMPLES, JUDGE_TEMPERATURE
from espresso.profiles import Profile, ServerRole
from eval.judge.results import VERDICTS, JudgeConfig, JudgeSummary, VerdictRow, summarize
from eval.run import RunProgress
from eval.run_folder import RunConfig, read_run, read_samples
from eval.sample import Sample

logger = logging.getLogger(__name__)

REPLY_TOKENS = 300
"""Typical length of a reply in tokens, for the estimate; its maximum is `MAX_TOKENS`."""

ESTIMATE_ABOVE = 50
"""Largest number of answers that a server judges without an estimate of the cost."""

_RETRY_TOKENS = 128  # length of the message that asks for a reply again


@dataclass(frozen=True)
class Estimate:
    """The estimated cost of judging the remaining answers."""

    answers: int
    """Number of answers."""

    tokens: TokenUsage
    """Prompt tokens, counted as an upper bound, and completion tokens."""

    dollars: float | None
    """The cost; None if the profile gives no prices."""


def judge_run(
    folder: Path,
    *,
    session: Session | None = None,
    profile: str | Path | Profile | None = None,
    samples: int = JUDGE_SAMPLES,
    temperature: float = JUDGE_TEMPERATURE,
    seed: int = 0,
    frames: bool = False,
    max_cost: float | None = None,
    limit: int | None = None,
    out: Path | None = None,
    on_estimate: Callable[[Estimate], None] = lambda estimate: None,
    on_progress: Callable[[RunProgress], None] = lambda progress: None,
) -> JudgeSummary:
    """Judge all answers of a run that have a reference. An interrupted run is resumed.

    Each verdict is written at once. Answers that could not be scored are recorded with the reason,
    and are judged again when the run is resumed.

    Args:
        folder: the folder of a run.
        session: the session to use; it stays open. None opens one for the profile.
        profile: a profile, its name or file, if no session is given. None is ESPRESSO_PROFILE, else
            `tiny`.
        samples: replies for each answer; the median counts.
        temperature: sampling temperature.
        seed: seed of the first sample.
        frames: show the core frames to the judge.
        max_cost: the most to spend in this call, in dollars. None is no limit.
        limit: judge only the first `limit` answers. None is all.
        out: folder of the verdicts. None is `folder`.
        on_estimate: called before a server judges more than `ESTIMATE_ABOVE` answers.
        on_progress: called after each answer.

    Raises:
        DataError: the folder holds no run, no answer with a reference, or verdicts of another judge
            or with other settings; or more than one sample is requested at temperature 0.
        ProfileError: the profile has no judge, or `max_cost` is given and the profile has no
            prices.
        ServerDownError: the judge's server does not answer.
        BudgetExceededError: the next answer could exceed `max_cost`.
        EspressoError: not a single answer could be scored.
    """
    check_sampling(samples, temperature)
    header, answered = read_run(folder), read_samples(folder)
    chosen = [sample for sample in answered if sample.answer and sample.question.answer is not None]
    if not chosen:
        raise DataError(f"{folder}: no answer has a reference to judge it by. Give a run of questions with reference answers.")
    free = [sample for sample in chosen if sample.answer and sample.answer.choice is None]
    if not free:
        raise DataError(
            f"{folder}: its answers are options that were chosen, not free answers, so a judge would score the wording of the "
            "options. Run the benchmark with --protocol open and judge that run."
        )
    left_out, chosen = len(answered) - len(free), free[:limit]
    with nullcontext(session) if session else Session(profile) as opened:
        prices = _prices(opened.profile)
        if max_cost is not None and prices is None:
            raise ProfileError(
                f"profile {opened.profile.name}: --max-cost needs the judge's prices. Add price_in and price_out to [judge]."
            )
        judge = Judge.from_session(opened, samples=samples, temperature=temperature, seed=seed)
        _ = judge.model.context_length  # loads a local model, so that a failure leaves no folder behind
        config = JudgeConfig(
            judge=judge.name,
            prompt=prompts.digest("judge", style=judge.style),
            samples=samples,
            temperature=temperature,
            seed=seed,
            frames=frames,
            run=run_hash(header.configuration),
        )
        path, done = out or folder, lambda row: row.verdict is not None
        with JsonlLog(path, "judge", config, lines=VERDICTS, entry=VerdictRow, done=done) as log:
            work = _Work(opened, judge, frames, prices, None if max_cost is None else Budget(max_cost))
            rows = {row.id: row for row in log.entries}
            remaining = [sample for sample in chosen if sample.id not in rows]
            if len(remaining) > ESTIMATE_ABOVE and isinstance(opened.profile.judge, ServerRole):
                on_estimate(work.estimate(remaining))
            new = opened.run(_judge_all(remaining, work, log, total=len(chosen), on_progress=on_progress))
            rows |= {row.id: row for row in new}
        note = opened.cache.error_note if opened.cache else None
    results = [(sample, rows[sample.id]) for sample in chosen]
    return summarize(path, config, results, left_out=left_out, prices=prices, note=note)


def check_sampling(samples: int, temperature: float) -> None:
    """Check the sampling settings of a judge.

    Raises:
        DataError: there are no samples, or several that would all be equal.
    """
    if samples < 1:
        raise DataError(f"{samples} samples are too few to judge anything. Give --samples 1 or more.")
    if temperature == 0 and samples > 1:
        raise DataError(f"all {samples} samples would be equal at temperature 0. Give --samples 1 or a higher --temperature.")


def run_hash(config: RunConfig) -> str:
    """Return twelve hex digits that identify a run; verdicts are not resumed for another run."""
    return sha256(config.model_dump_json().encode()).hexdigest()[:12]


async def _judge_all(
    samples: Sequence[Sample],
    work: _Work,
    log: JsonlLog[VerdictRow],
    *,
    total: int,
    on_progress: Callable[[RunProgress], None],
) -> list[VerdictRow]:
    """Judge samples concurrently and write each verdict at once; return the new rows.

    An unexpected exception is logged, and its answer is unscored.

    Raises ServerDownError, BudgetExceededError, and EspressoError if not a single answer could be
    scored.
    """
    rows: list[VerdictRow] = []

    def progress() -> RunProgress:
        errors = sum(row.verdict is None for row in rows)
        return RunProgress("judging", total - len(samples) + len(rows), total, errors=errors)

    async def judge_one(sample: Sample) -> None:
        try:
            row = await work.judge_sample(sample)
        except EspressoError:
            raise
        except Exception as error:
            logger.exception("judging %s failed", sample.id)
            row = VerdictRow(id=sample.id, verdict=None, faults=(f"{type(error).__name__}: {error}",))
        log.append(row)
        rows.append(row)
        on_progress(progress())

    on_progress(progress())
    try:
        async with aclosing(bounded(samples, judge_one)) as results:
            async for _ in results:
                pass
    except (ServerDownError, BudgetExceededError) as error:
        kept = progress().done - progress().errors
        raise type(error)(f"{error} {kept} of {total} verdicts are saved; run the same command again to resume.") from None
    if rows and not any(row.verdict for row in rows):
        raise EspressoError(f"none of {len(rows)} answers could be scored; the last: {rows[-1].error}")
    return rows


@dataclass(frozen=True)
class _Work:
    """Judges single samples, within the budget."""

    session: Session
    judge: Judge
    frames: bool
    prices: Prices | None
    budget: Budget | None

    def estimate(self, samples: Sequence[Sample]) -> Estimate:
        """Estimate the cost, assuming that every reply can be parsed."""
        times = self.judge.samples
        tokens = TokenUsage(times * sum(map(self._prompt_tokens, samples)), times * REPLY_TOKENS * len(samples))
        return Estimate(len(samples), tokens, self.prices.dollars(tokens) if self.prices else None)

    async def judge_sample(self, sample: Sample) -> VerdictRow:
        """Judge one sample. Raises ServerDownError and BudgetExceededError."""
        async with self.budget.reserve(self._max_cost(sample)) if self.budget else nullcontext(Reservation(0)) as reservation:
            try:
                frames = await self._core_frames(sample) if self.frames else []
            except MediaError as error:
                return VerdictRow(id=sample.id, verdict=None, faults=(str(error),))
            result = await self.judge.score(*_texts(sample), frames)
            if self.prices:
                reservation.spent = self.prices.dollars(TokenUsage(result.tokens_in, result.tokens_out))
            return VerdictRow(id=sample.id, **dict(result))

    async def _core_frames(self, sample: Sample) -> list[ShownFrame]:
        assert sample.answer
        context = AnswerContext(session=self.session)
        await context.open(sample.question.visuals)
        return await context.show([core.frame for core in sample.answer.core_frames])

    def _prompt_tokens(self, sample: Sample) -> int:
        """Count a prompt's tokens without decoding frames: each picture counts with its maximum."""
        cores = sample.answer.core_frames if self.frames and sample.answer else ()
        blank = Picture(np.zeros((1, 1, 3), np.uint8))
        prompt = self.judge.prompt(*_texts(sample), [ShownFrame(core.frame, blank, "the video") for core in cores])
        return self.judge.model.count_tokens(prompt.messages).total

    def _max_cost(self, sample: Sample) -> float:
        """Return the cost in dollars if every reply is requested twice and has maximum length."""
        assert self.prices
        times, prompt = self.judge.samples, self._prompt_tokens(sample)
        return self.prices.dollars(TokenUsage(times * (2 * prompt + MAX_TOKENS + _RETRY_TOKENS), times * 2 * MAX_TOKENS))


def _texts(sample: Sample) -> tuple[str, str, str]:
    """Return question, reference and answer of a sample that has them.

    The reference is the free-text answer of the ground truth if there is one.
    """
    question, answer = sample.question, sample.answer
    assert answer
    assert question.answer is not None
    reference = (question.truth.answer if question.truth else None) or question.answer
    return question.text, reference, answer.text


def _prices(profile: Profile) -> Prices | None:
    role = profile.judge
    if not isinstance(role, ServerRole) or role.price_in is None or role.price_out is None:
        return None
    return Prices(role.price_in, role.price_out)
