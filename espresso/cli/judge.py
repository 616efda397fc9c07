"""`espresso judge run RUN` scores the answers of a run; `espresso judge audit` tests the judge.

espresso judge run runs/world-test-tiny-selector-420 --profile api
espresso judge audit --profile tiny
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from espresso.options import AUDIT_QUESTIONS, JUDGE_SAMPLES, JUDGE_TEMPERATURE

if TYPE_CHECKING:
    from rich.table import Table

    from eval.judge.results import JudgeSummary
    from eval.judge.run import Estimate
    from eval.judge_audit.report import AuditTable
    from eval.run import RunProgress

HEADS = {"logic": "Log.", "factuality": "Fac.", "accuracy": "Acc.", "conciseness": "Con.", "overall": "Overall"}
"""Criterion -> its column head in Table 2."""

SHOWN_REASONS = 10
"""Number of unscored answers that are listed with their reason."""

PROFILE_HELP = "Profile with the judge: a name or a TOML file. Default: ESPRESSO_PROFILE, else tiny."
SAMPLES_HELP = "Replies for each answer; the median counts."

app = typer.Typer(no_args_is_help=True, help="Score answers with a judge.")


@app.callback()
def judge() -> None:
    """Score answers with a judge."""


@app.command()
def run(
    folder: Path = typer.Argument(metavar="RUN", help="Folder of a run. Its answers are judged against their references."),
    *,
    profile: str | None = typer.Option(None, help=PROFILE_HELP),
    samples: int = typer.Option(JUDGE_SAMPLES, help=SAMPLES_HELP),
    temperature: float = typer.Option(JUDGE_TEMPERATURE, min=0.0, help="Sampling temperature of the judge."),
    seed: int = typer.Option(0, help="Seed of the judge's first sample."),
    frames: bool = typer.Option(False, "--frames/--no-frames", help="Show the core frames to the judge."),
    max_cost: float | None = typer.Option(None, min=0.0, help="The most to spend in this call, in dollars. Default: no limit."),
    limit: int | None = typer.Option(None, min=1, help="Judge only the first answers. Default: all."),
    out: Path | None = typer.Option(None, help="Folder of the verdicts, for a second judge. Default: the run's folder."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Judge the answers of a run by the criteria of VideoEspresso's Table 2."""
    from espresso.cli import show
    from eval.judge.run import judge_run

    with show.progress(_progress_text) as on_progress:
        summary = judge_run(
            folder,
            profile=profile,
            samples=samples,
            temperature=temperature,
            seed=seed,
            frames=frames,
            max_cost=max_cost,
            limit=limit,
            out=out,
            on_estimate=_print_estimate,
            on_progress=on_progress,
        )
    if as_json:
        show.print_json(summary.model_dump_json(indent=2))
        return
    console = show.console()
    console.print(_score_table(summary))
    for line in _notes(summary):
        console.print(line, soft_wrap=True)


def _progress_text(progress: RunProgress) -> str:
    return f"{progress.errors} unscored" if progress.errors else ""


def _print_estimate(estimate: Estimate) -> None:
    """Print the estimated cost on standard error, before the first answer is judged."""
    from espresso.cli import show

    tokens = f"about {estimate.tokens.input:,} input and {estimate.tokens.output:,} output tokens"
    cost = "the profile gives no prices" if estimate.dollars is None else f"about ${estimate.dollars:.2f}"
    show.console(stderr=True).print(f"{estimate.answers} answers to judge: {tokens}; {cost}", soft_wrap=True)


def _score_table(summary: JudgeSummary) -> Table:
    from rich.table import Table

    config, metrics = summary.configuration, summary.metrics
    criteria = [metrics.criteria[name] for name in HEADS]
    agreement = [metrics.agreement[name] for name in HEADS]
    table = Table(title=f"judged by {config.judge}, median of {config.samples}", title_justify="left")
    table.add_column("")
    for head in HEADS.values():
        table.add_column(head, justify="right")
    table.add_row("0 to 100", *(f"{scores.mean:.2f}" for scores in criteria), style="bold")
    table.add_row("95 % interval", *(f"{scores.low:.1f}-{scores.high:.1f}" for scores in criteria))
    table.add_row("1 to 10", *(f"{scores.raw:.2f}" for scores in criteria))
    table.add_row("agreement", *("" if alpha is None else f"{alpha:.2f}" for alpha in agreement))
    return table


def _notes(summary: JudgeSummary) -> list[str]:
    """Return the lines under the table: what was scored, what was not and why, and the cost."""
    metrics = summary.metrics
    lines = [f"{metrics.scored} of {metrics.n} answers scored"]
    if metrics.left_out:
        lines[0] += f"; {metrics.left_out} samples of the run have no answer or no reference"
    lines += [f"unscored: {name}: {reason}" for name, reason in list(summary.unscored.items())[:SHOWN_REASONS]]
    if len(summary.unscored) > SHOWN_REASONS:
        lines.append(f"and {len(summary.unscored) - SHOWN_REASONS} more")
    lines += [f"note: {summary.note}"] if summary.note else []
    dollars = "" if metrics.dollars is None else f", ${metrics.dollars:.4g}"
    lines.append(f"{metrics.tokens_in:,} input and {metrics.tokens_out:,} output tokens{dollars}")
    return [*lines, f"{summary.folder}/verdicts.jsonl"]


@app.command()
def audit(
    *,
    profile: str | None = typer.Option(None, help=PROFILE_HELP),
    questions: int = typer.Option(AUDIT_QUESTIONS, help="Questions from the world's test split; each gives about 25 answers."),
    samples: int = typer.Option(JUDGE_SAMPLES, help=SAMPLES_HELP),
    temperature: float = typer.Option(JUDGE_TEMPERATURE, min=0.0, help="Sampling temperature of the judge."),
    answers: Path | None = typer.Option(
        None, help="Folder of a run of the world, to measure whether the judge prefers its answers."
    ),
    labels: list[Path] = typer.Option(
        [], help="File of human preferences: PandaLM's test set or FairEval's review. May be repeated."
    ),
    out: Path | None = typer.Option(None, help="Folder of audit.json and audit.html. Default: ./audits/JUDGE."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Measure how reliable a judge is, on answers of known quality."""
    from espresso import report
    from espresso.cli import show
    from eval.judge_audit.audit import audit as audit_judge
    from eval.judge_audit.report import tables, write_report

    report.check_folder(out or Path("audits"))
    with show.progress(lambda progress: "") as on_progress:
        result = audit_judge(
            profile=profile,
            questions=questions,
            samples=samples,
            temperature=temperature,
            answers=answers,
            label_files=labels,
            on_progress=on_progress,
        )
    folder = out or Path("audits") / result.judge.replace("/", "-")
    write_report(result, folder)
    if as_json:
        show.print_json(result.model_dump_json(indent=2))
        return
    console = show.console()
    console.print(f"{result.judge}: {result.answers} answers to {result.questions} questions, {result.unscored} unscored")
    for each in tables(result):
        console.print(_rich_table(each))
    console.print(f"{folder}/audit.html", soft_wrap=True)


def _rich_table(content: AuditTable) -> Table:
    from rich.table import Table

    table = Table(*content.head, title=content.title, caption=content.caption, title_justify="left", caption_justify="left")
    for column in table.columns[1:]:
        column.justify = "right" if len(content.head) > 2 else "left"
    for row in content.rows:
        table.add_row(*row)
    return table
