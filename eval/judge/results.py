"""The results of judging a run: `judge.json`, `verdicts.jsonl`, and VideoEspresso's Table 2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import model_serializer

from agents.budget import Prices, TokenUsage
from agents.judge import CRITERIA, JudgeResult
from espresso.log import LogEntry, read_header, read_lines
from espresso.schema import Record, Verdict
from eval.sample import Sample
from eval.stats import krippendorff_alpha, mean_interval

VERDICTS = "verdicts.jsonl"
"""The file of verdicts in a folder."""

SCALE = 10
"""Factor from the judge's scale, 1 to 10, to the paper's, 0 to 100."""


class JudgeConfig(Record):
    """Everything that changes verdicts: results with another configuration are not resumed."""

    judge: str
    """Name of the judge, which identifies its weights."""

    prompt: str
    """Hash of the prompt template."""

    samples: int
    """Replies for each answer."""

    temperature: float
    """Sampling temperature."""

    seed: int
    """Seed of the first sample."""

    frames: bool
    """Whether the judge is shown the core frames."""

    run: str
    """Hash of the run's configuration."""


class VerdictRow(JudgeResult, LogEntry):
    """One line of `verdicts.jsonl`: the result for one answer; `id` is the sample's."""


class CriterionScores(Record):
    """The scores of all answers by one criterion."""

    mean: float
    """Mean on the paper's scale, 0 to 100."""

    low: float
    """Lower end of the 95 % interval of `mean`, clustered by video."""

    high: float
    """Upper end of the 95 % interval of `mean`."""

    raw: float
    """Mean on the judge's scale, 1 to 10."""


class JudgeMetrics(Record):
    """The metrics of a judged run.

    Serialized flat: `criteria["logic"]` becomes `logic`, `logic_low`, `logic_high` and `logic_raw`,
    and `agreement["logic"]` becomes `logic_agreement`.
    """

    n: int
    """Number of answers that were judged."""

    scored: int
    """Number of answers with a verdict."""

    unscored: int
    """Number of answers without a verdict."""

    left_out: int
    """Number of samples without an answer or a reference."""

    unread: int
    """Number of replies that could not be parsed."""

    cached: int
    """Number of replies from the cache."""

    tokens_in: int
    """Prompt tokens of all requests."""

    tokens_out: int
    """Completion tokens of all requests."""

    dollars: float | None
    """Cost of all requests; None if the profile gives no prices."""

    criteria: dict[str, CriterionScores]
    """Criterion -> its scores; empty if no answer was scored."""

    agreement: dict[str, float | None]
    """Criterion -> Krippendorff's alpha between the samples of an answer.

    None if each answer has a single sample, or all scores are equal.
    """

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        counts = {name: value for name, value in self if name not in ("criteria", "agreement")}
        agreement = {f"{name}_agreement": alpha for name, alpha in self.agreement.items()}
        return counts | flat_scores(self.criteria) | agreement


class JudgeSummary(Record):
    """The outcome of judging a run."""

    folder: str
    """Where the verdicts are."""

    configuration: JudgeConfig
    """How the answers were judged."""

    metrics: JudgeMetrics
    """The numbers."""

    unscored: dict[str, str]
    """Sample id -> why it has no verdict."""

    note: str | None = None
    """What went wrong without stopping the run."""


def read_verdicts(folder: Path) -> dict[str, Verdict]:
    """Return the verdicts in a folder by sample id; empty if it was not judged.

    Raises:
        DataError: a line cannot be read.
    """
    file = folder / VERDICTS
    return {row.id: row.verdict for row in read_lines(file, VerdictRow) if row.verdict} if file.exists() else {}


def read_judge_config(folder: Path) -> JudgeConfig | None:
    """Return how the answers in a folder were judged; None if they were not.

    Raises:
        DataError: `judge.json` cannot be read.
    """
    file = folder / "judge.json"
    return read_header(file, JudgeConfig).configuration if file.exists() else None


def summarize(
    folder: Path,
    configuration: JudgeConfig,
    rows: Sequence[tuple[Sample, VerdictRow]],
    *,
    left_out: int,
    prices: Prices | None,
    note: str | None,
) -> JudgeSummary:
    """Compute the metrics of a judged run.

    Args:
        folder: where the verdicts are.
        configuration: how the answers were judged.
        rows: each sample with its result.
        left_out: number of samples without an answer or a reference.
        prices: prices of the judge, if known.
        note: what went wrong without stopping the run.
    """
    results = [row for _, row in rows]
    tokens = TokenUsage(sum(row.tokens_in for row in results), sum(row.tokens_out for row in results))
    unscored = {row.id: row.error for row in results if row.error}
    scores = {name: [[getattr(sample, name).score for sample in row.samples] for row in results] for name in CRITERIA}
    metrics = JudgeMetrics(
        n=len(rows),
        scored=len(rows) - len(unscored),
        unscored=len(unscored),
        left_out=left_out,
        unread=sum(len(row.faults) for row in results),
        cached=sum(row.cached for row in results),
        tokens_in=tokens.input,
        tokens_out=tokens.output,
        dollars=prices.dollars(tokens) if prices else None,
        criteria=criterion_scores([(sample, row.verdict) for sample, row in rows if row.verdict]),
        agreement={name: krippendorff_alpha(ratings) for name, ratings in scores.items()},
    )
    return JudgeSummary(folder=str(folder), configuration=configuration, metrics=metrics, unscored=unscored, note=note)


def criterion_scores(scored: Sequence[tuple[Sample, Verdict]]) -> dict[str, CriterionScores]:
    """Return the columns of Table 2 with their intervals; empty if no answer was scored."""
    videos = [sample.question.visuals for sample, _ in scored]
    criteria = dict[str, CriterionScores]()
    for name in CRITERIA if scored else ():
        values = [getattr(verdict, name) for _, verdict in scored]
        raw, (low, high) = fmean(values), mean_interval(values, videos, within=(1, 10))
        criteria[name] = CriterionScores(mean=SCALE * raw, low=SCALE * low, high=SCALE * high, raw=raw)
    return criteria


def flat_scores(criteria: dict[str, CriterionScores]) -> dict[str, float]:
    """Flatten scores to `logic`, `logic_low`, `logic_high`, `logic_raw` and so on."""
    flat = dict[str, float]()
    for name, scores in criteria.items():
        flat |= {name: scores.mean, f"{name}_low": scores.low, f"{name}_high": scores.high, f"{name}_raw": scores.raw}
    return flat
