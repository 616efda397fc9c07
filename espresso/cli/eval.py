"""`espresso eval run world --split test --limit 420 --strategy selector`: benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from espresso.datasets.base import Source
    from eval.run import Progress, Summary

app = typer.Typer(no_args_is_help=True, help="Measure answers on a benchmark.")


@app.callback()
def evaluate() -> None:
    """Measure answers on a benchmark."""


@app.command()
def run(
    bench: str = typer.Argument(help="world, videoespresso, nextqa, egoschema, mvbench or videomme."),
    *,
    split: str = typer.Option("test", help="Which of its questions."),
    limit: int | None = typer.Option(None, help="The first so many questions, else all."),
    strategy: str = typer.Option(
        "selector",
        help="How core frames are found: selector, uniform, random, all, blind; "
        "from truth: oracle, oracle-captions, oracle-evidence.",
    ),
    frames: int | None = typer.Option(
        None, min=1, help="How many frames uniform and random take (else 16), or the most that the selector may choose."
    ),
    protocol: str = typer.Option(
        "choice",
        help="choice: an option is chosen; written: options are listed, the reply is free and read strictly and by the authors' "
        "rule; open: no options, the free answer is matched with them.",
    ),
    given: bool = typer.Option(
        False, "--given-evidence", help="Answer from the evidence that comes with the benchmark, not from the model's own."
    ),
    profile: str | None = typer.Option(
        None, help="Which models answer: a name or a TOML file, else ESPRESSO_PROFILE, else tiny."
    ),
    seed: int = typer.Option(0, help="Of the order in which options are shown."),
    out: Path | None = typer.Option(None, help="The run's folder, else one in ./runs. One that was interrupted is gone on with."),
    data: Path | None = typer.Option(None, help="The benchmark's file of questions, as its authors publish it."),
    videos: Path | None = typer.Option(None, help="The folder that holds its videos, however deep."),
    allow_missing: bool = typer.Option(False, "--allow-missing", help="Leave questions out whose videos are not there."),
    engine: str = typer.Option(
        "local", help="Where questions are asked: local, or ray, whose workers need videos and models under the same paths."
    ),
    address: str | None = typer.Option(None, help="Of the Ray cluster, such as host:6379; else one is started on this machine."),
    workers: int | None = typer.Option(None, help="How many ask, with --engine ray; else as many as there is room for."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Ask a benchmark's questions; print accuracy by task with intervals, and how good core frames and evidence are."""
    from rich.console import Console

    from espresso.cli import show
    from eval.report.table import paper_row
    from eval.run import run as run_bench

    with show.progress(_said) as on_progress:
        summary = run_bench(
            bench,
            split=split,
            limit=limit,
            strategy=cast(Any, strategy),
            frames=frames,
            protocol=cast(Any, protocol),
            given=given,
            profile=profile,
            seed=seed,
            out=out,
            source=_source(data, videos),
            allow_missing=allow_missing,
            engine=cast(Any, engine),
            address=address,
            workers=workers,
            on_progress=on_progress,
        )
    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
        return
    console = Console()
    console.print(_by_task(summary))
    console.print(_measured(summary))
    if row := paper_row(summary.metrics, summary.tasks):
        typer.echo("Table 1: " + "".join(f"{head:>8}" for head in row))
        typer.echo("         " + "".join(f"{cell:>8}" for cell in row.values()))
    for what, those in (("rows that cannot be read", summary.bad), ("videos that are not there", summary.missing)):
        if those:
            console.print(f"left out: {len(those)} {what}; the first: {those[0]}", soft_wrap=True, highlight=False)
    console.print(f"{summary.folder}/samples.jsonl", soft_wrap=True, highlight=False)


@app.command()
def study(
    part: str = typer.Argument(help="What is studied: selector."),
    bench: str = typer.Option("world", help="The benchmark whose questions are asked."),
    *,
    profile: list[str] = typer.Option(["tiny"], help="Which models answer; again for more."),
    split: str = typer.Option("test", help="Which of its questions."),
    limit: int | None = typer.Option(None, min=1, help="The first so many questions, else all."),
    count: list[int] = typer.Option([2, 4, 8, 16], help="How many uniform and random frames; again for more."),
    out: Path = typer.Option(Path("runs/selector-study"), help="Folder of runs, table and plot. The same command goes on."),
    data: Path | None = typer.Option(None, help="The benchmark's file of questions, as its authors publish it."),
    videos: Path | None = typer.Option(None, help="The folder that holds its videos, however deep."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """What choosing frames is worth (Table 5): uniform, random, selected and true frames, by accuracy and whole cost."""
    from espresso.cli import show
    from espresso.errors import DataError
    from eval.report.frame_study import markdown, selector_study

    if part != "selector":
        raise DataError(f"no study is called {part!r}. There is one: selector.")
    with show.progress(_said) as on_progress:
        found = selector_study(
            bench, names=profile, split=split, limit=limit, counts=count, out=out, source=_source(data, videos),
            on_progress=on_progress,
        )  # fmt: skip
    typer.echo((out / "study.json").read_text().rstrip() if as_json else markdown(found))
    typer.echo(f"{out}/study.md, study.json, study.png", err=True)


@app.command()
def report(
    runs: list[Path] = typer.Argument(help="Folders of runs; the others are compared with the first."),
    as_markdown: bool = typer.Option(False, "--markdown", help="Print the table in Markdown."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    html: Path | None = typer.Option(None, help="Write one self-contained HTML page as well, with every sample to look through."),
) -> None:
    """Put runs side by side: accuracy by task, cost, differences with intervals, and which way choices lean."""
    import json

    from rich.console import Console
    from rich.table import Table

    from eval.report.table import compare, markdown, rows

    compared = compare(runs)
    if html:
        _write_page(html, runs)
    if as_json:
        typer.echo(json.dumps([run.model_dump(mode="json") for run in compared], indent=2))
        return
    if as_markdown:
        typer.echo(markdown(compared))
        return
    table = Table("", *(run.name for run in compared))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, cells in rows(compared):
        table.add_row(name, *cells)
    Console().print(table)


def _write_page(path: Path, runs: list[Path]) -> None:
    """Write the HTML page; tell on standard error what it lacks."""
    from rich.console import Console

    from espresso.cli import show
    from eval.judge.results import verdicts_in
    from eval.report import html as page
    from eval.run import Progress

    verdicts = [verdicts_in(run) for run in runs]
    with show.progress(_said) as on_progress:
        gone = page.write(
            path, runs, verdicts=verdicts, on_clip=lambda done, total: on_progress(Progress("decoding pictures", done, total))
        )
    if gone:
        said = f"{path} has no pictures of {len(gone)} videos that are no longer what or where they were; the first: {gone[0]}"
        Console(stderr=True).print(said, soft_wrap=True, highlight=False)


def _source(data: Path | None, videos: Path | None) -> Source | None:
    """A user's copy of a benchmark. Raises DataError where half of it is given."""
    from espresso.datasets.base import Source
    from espresso.errors import DataError

    if (data is None) != (videos is None):
        raise DataError("--data and --videos go together. Give the file of questions and the folder of videos, or neither.")
    return Source(data, videos) if data and videos else None


def _said(progress: Progress) -> str:
    """Tell live accuracy, and errors where there are any."""
    said = f"{progress.right / progress.done:.1%} right" if progress.done and progress.doing == "answering" else ""
    return said + (f", {progress.errors} errors" if progress.errors else "")


def _by_task(summary: Summary) -> Table:
    from rich.table import Table

    about = summary.configuration
    profile = Path(about.profile["name"]).name.replace(".toml", "")
    table = Table(title=f"{about.bench} {about.split}, {profile}, {about.strategy}", title_justify="left")
    table.add_column("task")
    for head in ("questions", "accuracy", "95 % interval"):
        table.add_column(head, justify="right")
    for task in summary.tasks:
        table.add_row(task.task, str(task.n), f"{task.accuracy:.1%}", f"{task.accuracy_low:.1%} to {task.accuracy_high:.1%}")
    table.add_section()
    overall = {name: cast(float, summary.metrics[name]) for name in ("n", "accuracy", "accuracy_low", "accuracy_high")}
    interval = f"{overall['accuracy_low']:.1%} to {overall['accuracy_high']:.1%}"
    table.add_row("all", f"{overall['n']:.0f}", f"{overall['accuracy']:.1%}", interval, style="bold")
    return table


def _measured(summary: Summary) -> Table:
    """Lay out every metric but accuracy, under the names that the JSON uses."""
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in summary.metrics.items():
        if not name.startswith("accuracy") and value is not None and name != "n":
            table.add_row(name, f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}")
    return table
