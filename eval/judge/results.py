"""What judges said of a run's answers: `judge.json`, `verdicts.jsonl`, and the columns of Table 2 (VideoEspresso)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from agents.judge import CRITERIA, Judged
from espresso.schema import Record, Verdict
from eval.judge.budget import Prices, Tokens
from eval.log.jsonl import account_in, lines_in
from eval.metrics import Metrics, Sample
from eval.stats import agreement, mean_interval

LINES = "verdicts.jsonl"
SCALE = 10
"""From a judge's 1 to 10 to the paper's scale."""


class Judging(Record):
    """What makes two judgings the same: with any of it changed, their verdicts do not belong together.

    judge: its name, which tells its weights apart. prompt: hash of its template. samples: replies an answer; temperature, seed:
    of their sampling. frames: whether the core frames were shown. run: hash of all that was asked in the run, and with what.
    """

    judge: str
    prompt: str
    samples: int
    temperature: float
    seed: int
    frames: bool
    run: str


class Row(Judged):
    """One line of `verdicts.jsonl`: an answer, by its sample's id, and what became of it."""

    id: str


class Summary(Record):
    """A run's verdicts in numbers.

    metrics: n (answers judged), scored, unscored, left_out (samples without an answer or a reference), unread (single replies),
    cached (replies that cost nothing); tokens_in, tokens_out and, where prices are known, dollars. For each criterion its mean in
    the paper's 0 to 100 (`logic`) with its 95 % interval, clustered by video (`logic_low`, `logic_high`), the same as given, 1 to
    10 (`logic_raw`), and Krippendorff's alpha between the samples of an answer (`logic_agreement`). unscored: id -> the reason.
    note: what did not go as planned.
    """

    folder: str
    configuration: Judging
    metrics: Metrics
    unscored: dict[str, str]
    note: str | None = None


def verdicts_in(folder: Path) -> dict[str, Verdict]:
    """The verdicts in a folder, by sample id; empty where nothing was judged. Raises DataError for a line that is none."""
    file = folder / LINES
    return {row.id: row.verdict for row in lines_in(file, Row) if row.verdict} if file.exists() else {}


def judging_in(folder: Path) -> Judging | None:
    """Who judged in a folder, and how; None where nobody did. Raises DataError for a record that cannot be read."""
    file = folder / "judge.json"
    return account_in(file, Judging).configuration if file.exists() else None


def summary(
    folder: Path,
    configuration: Judging,
    rows: Sequence[tuple[Sample, Row]],
    left_out: int,
    prices: Prices | None,
    note: str | None,
) -> Summary:
    """Sum up what a judging gave, of one answer or more."""
    tokens = Tokens(sum(row.tokens_in for _, row in rows), sum(row.tokens_out for _, row in rows))
    unscored = {row.id: row.error for _, row in rows if row.error}
    counts: Metrics = {
        "n": len(rows),
        "scored": len(rows) - len(unscored),
        "unscored": len(unscored),
        "left_out": left_out,
        "unread": sum(len(row.faults) for _, row in rows),
        "cached": sum(row.cached for _, row in rows),
        "tokens_in": tokens.read,
        "tokens_out": tokens.written,
        "dollars": prices.dollars(tokens) if prices else None,
    }
    scored = [(sample, row.verdict) for sample, row in rows if row.verdict]
    metrics = counts | columns(scored) | _agreements([row for _, row in rows])
    return Summary(folder=str(folder), configuration=configuration, metrics=metrics, unscored=unscored, note=note)


def columns(scored: Sequence[tuple[Sample, Verdict]]) -> Metrics:
    """Table 2's columns with their intervals, in both scales, see `Summary`; empty where nothing was scored."""
    videos = [sample.question.visuals for sample, _ in scored]
    found: Metrics = {}
    for name in CRITERIA if scored else ():
        values = [getattr(verdict, name) for _, verdict in scored]
        raw, (low, high) = fmean(values), mean_interval(values, videos, within=(1, 10))
        found |= {name: SCALE * raw, f"{name}_low": SCALE * low, f"{name}_high": SCALE * high, f"{name}_raw": raw}
    return found


def _agreements(rows: Sequence[Row]) -> Metrics:
    """How far the samples of each answer agree."""
    scores = {name: [[getattr(sample, name).score for sample in row.samples] for row in rows] for name in CRITERIA}
    return {f"{name}_agreement": agreement(given) for name, given in scores.items()}
