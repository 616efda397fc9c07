"""`espresso judge run runs/world-test-tiny-selector-420 --profile api`: subjective scores; `audit`: how far to trust them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from eval.judge.results import Summary
    from eval.judge.run import Estimate
    from eval.judge_audit.report import Table as Finding
    from eval.run import Progress

HEADS = {"logic": "Log.", "factuality": "Fac.", "accuracy": "Acc.", "conciseness": "Con.", "overall": "Overall"}
"""The column heads of Table 2."""
SHOWN = 10

app = typer.Typer(no_args_is_help=True, help="Score answers with a judge.")


@app.callback()
def judge() -> None:
    """Score answers with a judge."""


@app.command()
def run(
    folder: Path = typer.Argument(metavar="RUN", help="The folder of a run; its answers are judged beside their references."),
    *,
    profile: str | None = typer.Option(None, help="Whose judge: a name or a TOML file, else ESPRESSO_PROFILE, else tiny."),
    samples: int = typer.Option(3, help="How often the judge is asked about an answer; the median counts."),
    temperature: float = typer.Option(0.7, min=0.0, help="Of its replies."),
    seed: int = typer.Option(0, help="Of its replies."),
    frames: bool = typer.Option(False, "--frames/--no-frames", help="Whether the judge is shown the core frames."),
    max_cost: float | None = typer.Option(None, min=0.0, help="The most dollars to spend on this call."),
    limit: int | None = typer.Option(None, min=1, help="The first so many answers, else all."),
    out: Path | None = typer.Option(None, help="Where the verdicts go, else the run's folder: for a second judge."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Judge the answers of a run: logic, factuality, accuracy, conciseness and overall (VideoEspresso, Table 2)."""
    from rich.console import Console

    from espresso.cli import show
    from eval.judge.run import judge_run

    with show.progress(_said) as on_progress:
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
            on_estimate=_estimated,
            on_progress=on_progress,
        )
    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
        return
    console = Console()
    console.print(_table(summary))
    for line in _told(summary):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _said(progress: Progress) -> str:
    return f"{progress.errors} unscored" if progress.errors else ""


def _estimated(estimate: Estimate) -> None:
    """Say on standard error what the answers will cost, before the first is judged."""
    tokens = f"about {estimate.tokens.read:,} tokens read and {estimate.tokens.written:,} written"
    cost = "the profile gives no prices" if estimate.dollars is None else f"about ${estimate.dollars:.2f}"
    typer.echo(f"{estimate.answers} answers to judge: {tokens}; {cost}", err=True)


def _table(summary: Summary) -> Table:
    from rich.table import Table

    about, metrics = summary.configuration, summary.metrics
    table = Table(title=f"judged by {about.judge}, median of {about.samples}", title_justify="left")
    table.add_column("")
    for head in HEADS.values():
        table.add_column(head, justify="right")
    table.add_row("0 to 100", *(f"{metrics[name]:.2f}" for name in HEADS), style="bold")
    table.add_row("95 % interval", *(f"{metrics[f'{name}_low']:.1f}–{metrics[f'{name}_high']:.1f}" for name in HEADS))
    table.add_row("1 to 10", *(f"{metrics[f'{name}_raw']:.2f}" for name in HEADS))
    agreements = (metrics[f"{name}_agreement"] for name in HEADS)
    table.add_row("agreement", *("" if alpha is None else f"{alpha:.2f}" for alpha in agreements))
    return table


def _told(summary: Summary) -> list[str]:
    """Say how many answers the numbers are of, which are left out and why, and what it cost."""
    metrics = summary.metrics
    lines = [f"{metrics['scored']} of {metrics['n']} answers scored"]
    if metrics["left_out"]:
        lines[0] += f"; {metrics['left_out']} samples of the run have no answer or no reference"
    lines += [f"unscored: {name}: {reason}" for name, reason in list(summary.unscored.items())[:SHOWN]]
    if len(summary.unscored) > SHOWN:
        lines.append(f"and {len(summary.unscored) - SHOWN} more")
    dollars = "" if metrics["dollars"] is None else f", ${metrics['dollars']:.4g}"
    lines += [f"note: {summary.note}"] if summary.note else []
    lines.append(f"{metrics['tokens_in']:,} tokens read, {metrics['tokens_out']:,} written{dollars}")
    return [*lines, f"{summary.folder}/verdicts.jsonl"]


@app.command()
def audit(
    *,
    profile: str | None = typer.Option(None, help="Whose judge: a name or a TOML file, else ESPRESSO_PROFILE, else tiny."),
    questions: int = typer.Option(40, help="Questions of the world's test split; each gives some twenty-five answers."),
    samples: int = typer.Option(3, help="How often the judge is asked about an answer; the median counts."),
    temperature: float = typer.Option(0.7, min=0.0, help="Of its replies."),
    answers: Path | None = typer.Option(None, help="The folder of a run of the world: does the judge prefer its answers?"),
    labels: list[Path] = typer.Option([], help="People's preferences: PandaLM's test set or FairEval's review. May be repeated."),
    out: Path | None = typer.Option(None, help="Where audit.json and audit.html go, else ./audits/JUDGE."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Find out how far a judge can be trusted, on answers whose worth is known."""
    from rich.console import Console

    from espresso.cli import show
    from eval.judge_audit.audit import audit as find_out
    from eval.judge_audit.report import tables, write

    with show.progress(lambda progress: "") as on_progress:
        found = find_out(
            profile=profile,
            questions=questions,
            samples=samples,
            temperature=temperature,
            answers=answers,
            label_files=labels,
            on_progress=on_progress,
        )
    folder = out or Path("audits") / found.judge.replace("/", "-")
    write(found, folder)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    console = Console()
    console.print(f"{found.judge}: {found.answers} answers to {found.questions} questions, {found.unscored} unscored")
    for each in tables(found):
        console.print(_finding(each))
    console.print(f"{folder}/audit.html", soft_wrap=True, highlight=False)


def _finding(finding: Finding) -> Table:
    from rich.table import Table

    table = Table(*finding.head, title=finding.title, caption=finding.about, title_justify="left", caption_justify="left")
    for column in table.columns[1:]:
        column.justify = "right" if len(finding.head) > 2 else "left"
    for row in finding.rows:
        table.add_row(*row)
    return table
