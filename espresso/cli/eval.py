"""`espresso eval run world --limit 420`: run benchmarks and report on runs."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from espresso.options import FRAME_COUNTS, EvalStrategy, ExecutorName, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from espresso.datasets import DatasetFiles
    from eval.run import RunProgress, RunSummary

app = typer.Typer(no_args_is_help=True, help="Run benchmarks and report on runs.")
study = typer.Typer(no_args_is_help=True, help="Compare parts of the pipeline, or classifiers. The same command resumes.")
app.add_typer(study, name="study")

_DATASET = typer.Argument(
    help="records, world, videoespresso, nextqa, egoschema, mvbench, videomme, nlvr2, raiv, raiv-reasons or smart101."
)
_DATA = typer.Option(
    None,
    help="The dataset's file of questions, as its authors publish it: JSON, JSON lines, CSV, TSV or Parquet, gzipped or not; for "
    "smart101 the folder of puzzles.",
)
_VIDEOS = typer.Option(None, help="The folder with its videos, at any depth. Default: the folder of --data.")


CAPTIONED = ("nextgqa-captions", "world-captions")
"""Datasets that measure the selection of frames by captions, without answers."""


@app.callback()
def evaluate() -> None:
    """Run benchmarks and report on runs."""


@app.command()
def run(
    dataset: str = typer.Argument(
        help="records, world, videoespresso, nextqa, egoschema, mvbench, videomme, nlvr2, raiv, raiv-reasons or smart101; or "
        "nextgqa-captions or world-captions, which measure the selection of frames alone."
    ),
    *,
    split: str = typer.Option("test", help="Split of the dataset."),
    limit: int | None = typer.Option(None, help="Number of questions, from the first. Default: all."),
    strategy: EvalStrategy | None = typer.Option(
        None,
        help="How core frames are found. The oracles use the ground truth, ranked the reference. Default: the profile's own.",
    ),
    frames: int | None = typer.Option(
        None, min=1, help="Frames of uniform and random (default 16), or the most that the selector may choose."
    ),
    protocol: Protocol = typer.Option(
        "choice",
        help="choice: the model chooses an option. written: options are listed and the reply is free text, read strictly and by "
        "the authors' rule. open: options are hidden and the free answer is matched with them.",
    ),
    given_evidence: bool = typer.Option(
        False, "--given-evidence", help="Answer from the evidence in the dataset, not from the model's own."
    ),
    profile: str | None = typer.Option(
        None, help="The models: name of a profile or a TOML file. Default: ESPRESSO_PROFILE, else tiny."
    ),
    seed: int = typer.Option(0, help="Seed of the order in which options are shown."),
    out: Path | None = typer.Option(None, help="The run's folder. Default: one in ./runs. An interrupted run is resumed."),
    data: Path | None = _DATA,
    videos: Path | None = _VIDEOS,
    allow_missing: bool = typer.Option(False, "--allow-missing", help="Leave out questions about videos that are missing."),
    engine: ExecutorName = typer.Option(
        "local", help="Where questions are asked. The workers of ray need videos and models under the same paths."
    ),
    address: str | None = typer.Option(
        None, help="Address of the Ray cluster, such as host:6379. Default: start one on this machine."
    ),
    workers: int | None = typer.Option(None, help="Number of Ray workers. Default: as many as there is room for."),
    way: list[str] | None = typer.Option(
        None,
        help="For nextgqa-captions and world-captions: uniform, random, bm25, cosine, embedding, trained, 'trained without "
        "options', llm or hybrid. May be repeated. Default: all that need no language model.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Run a benchmark and print accuracy by task, core frame and evidence quality, and cost."""
    from espresso.cli import show

    if dataset in CAPTIONED:
        _measure_selection(dataset, profile, limit, way, seed, out, data, as_json)
        return
    from eval.report.table import paper_row
    from eval.run import run as run_benchmark

    with show.progress(_details) as on_progress:
        summary = run_benchmark(
            dataset,
            split=split,
            limit=limit,
            strategy=strategy,
            frames=frames,
            protocol=protocol,
            given_evidence=given_evidence,
            profile=profile,
            seed=seed,
            out=out,
            files=_files(data, videos),
            allow_missing=allow_missing,
            executor=engine,
            address=address,
            workers=workers,
            on_progress=on_progress,
        )
    if as_json:
        show.print_json(summary.model_dump_json(indent=2))
        return
    console = show.console()
    console.print(_task_table(summary))
    console.print(_metrics_table(summary))
    if row := paper_row(summary.metrics, summary.tasks):
        typer.echo("Table 1: " + "".join(f"{head:>8}" for head in row))
        typer.echo("         " + "".join(f"{cell:>8}" for cell in row.values()))
    _print_left_out(console, summary.bad, summary.missing)
    for note in summary.notes:
        console.print(f"note: {note}", soft_wrap=True)
    console.print(f"{summary.folder}/samples.jsonl", soft_wrap=True)


@app.command()
def export(
    dataset: str = _DATASET,
    *,
    out: Path = typer.Option(help="Folder of the task: lmms-eval --include_path OUT --tasks espresso_world."),
    split: str = typer.Option("test", help="Split of the dataset."),
    limit: int | None = typer.Option(None, min=1, help="Number of questions, from the first. Default: all."),
    data: Path | None = _DATA,
    videos: Path | None = _VIDEOS,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Export a dataset as records (questions.jsonl) and as a task of lmms-eval."""
    import json

    from espresso.cli import show
    from eval.lmms_eval.export import export_dataset

    exported = export_dataset(dataset, out, split=split, limit=limit, files=_files(data, videos))
    if as_json:
        typer.echo(json.dumps({"folder": str(out), "questions": exported.questions, "documents": exported.documents}))
    else:
        typer.echo(f"{out}: {exported.questions} questions, {exported.documents} of them in the task espresso_{dataset}")
        _print_left_out(show.console(), exported.bad, exported.missing)


@study.command("selector")
def study_selector(
    bench: str = typer.Option("world", help="The dataset."),
    *,
    profile: list[str] = typer.Option(["tiny"], help="Profile of the models. May be repeated."),
    split: str = typer.Option("test", help="Split of the dataset."),
    limit: int | None = typer.Option(None, min=1, help="Number of questions, from the first. Default: all."),
    count: list[int] = typer.Option(list(FRAME_COUNTS), help="Numbers of uniform and random frames. May be repeated."),
    out: Path = typer.Option(Path("runs/selector-study"), help="Folder of runs, table and plot. The same command resumes."),
    data: Path | None = _DATA,
    videos: Path | None = _VIDEOS,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Compare uniform, random, selected and true frames by accuracy and whole cost (Table 5)."""
    from espresso.cli import show
    from eval.report.frame_study import markdown, selector_study

    with show.progress(_details) as on_progress:
        found = selector_study(
            bench, names=profile, split=split, limit=limit, counts=count, out=out, files=_files(data, videos),
            on_progress=on_progress,
        )  # fmt: skip
    if as_json:
        show.print_json((out / "study.json").read_text(encoding="utf-8").rstrip())
    else:
        typer.echo(markdown(found))
    show.console(stderr=True).print(f"{out}/study.md, study.json, study.png", soft_wrap=True)


@study.command("raiv")
def study_raiv(
    config: Path = typer.Argument(help="A YAML file such as finetune/configs/fusion/raiv-study.yaml."),
    output: Path | None = typer.Option(None, help="Folder of the study, instead of the config's."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Train and compare classifiers of pairs: RAIV's Tables 2, 3, 5 and 6 in the world.

    A second process with the same command shares the work.
    """
    from finetune.config import read_config
    from finetune.fusion.config import RaivStudy

    settings = read_config(config, RaivStudy, output=output)
    from finetune.fusion.study import run_study  # takes seconds to import; report an invalid config first

    with redirect_stdout(sys.stderr):  # the trainer's log
        run_study(settings, _training)
    _print_study(settings.output, as_json)


@study.command("smart101")
def study_smart101(
    config: Path = typer.Argument(help="A YAML file such as finetune/configs/fusion/smart101-study.yaml."),
    output: Path | None = typer.Option(None, help="Folder of the study, instead of the config's."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Train and compare classifiers of puzzles: splits, fusion, towers, alignment, heads.

    A second process with the same command shares the work.
    """
    from finetune.config import read_config
    from finetune.fusion.config import Smart101Study

    settings = read_config(config, Smart101Study, output=output)
    from finetune.fusion.puzzle_study import run_study  # takes seconds to import; report an invalid config first

    with redirect_stdout(sys.stderr):  # the trainer's log
        run_study(settings, _training)
    _print_study(settings.output, as_json)


def _training(name: str, done: int, total: int) -> None:
    """Print which training of a study is next."""
    typer.echo(f"{name} ({done + 1} of {total})", err=True)


def _print_study(folder: Path, as_json: bool) -> None:
    """Print the tables of a study."""
    from espresso.cli import show

    if as_json:
        show.print_json((folder / "study.json").read_text(encoding="utf-8").rstrip())
    else:
        typer.echo((folder / "study.md").read_text(encoding="utf-8"))
    show.console(stderr=True).print(f"{folder}/study.md, study.json", soft_wrap=True)


@app.command("annotations")
def score_annotated(
    data: Path = typer.Argument(help="JSONL file that `espresso annotate` wrote about clips of the world."),
    as_json: bool = typer.Option(False, "--json", help="Print the scores as one JSON document."),
) -> None:
    """Compare constructed questions about clips of the world with the clips' record."""
    from rich.table import Table

    from espresso.cli import show
    from eval.annotations import score_annotations, table_rows

    scores = score_annotations(data)
    if as_json:
        show.print_json(scores.model_dump_json(indent=2))
        return
    table = Table("", "share or mean", "95 % interval", "n", title=f"{scores.questions} questions about {scores.clips} clips")
    for row in table_rows(scores):
        table.add_row(*row)
    show.console().print(table)


@app.command()
def report(
    runs: list[Path] = typer.Argument(help="Folders of runs; the others are compared with the first."),
    as_markdown: bool = typer.Option(False, "--markdown", help="Print the table in Markdown."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    html: Path | None = typer.Option(None, help="Also write one self-contained HTML page with every sample."),
) -> None:
    """Compare runs: accuracy by task, cost, paired differences with intervals, and choice bias."""
    from rich.table import Table

    from espresso.cli import show
    from eval.report.table import compare, markdown, table_rows

    compared = compare(runs)
    if html:
        _write_page(html, runs)
    if as_json:
        show.print_json("[" + ",\n".join(run.model_dump_json(indent=2) for run in compared) + "]")
        return
    if as_markdown:
        typer.echo(markdown(compared))
        return
    table = Table("", *(run.name for run in compared))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, cells in table_rows(compared):
        table.add_row(name, *cells)
    show.console().print(table)


def _measure_selection(
    dataset: str,
    profile: str | None,
    limit: int | None,
    ways: list[str] | None,
    seed: int,
    out: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Measure ways to select frames by captions; print the tables or the rows as JSON."""
    from espresso.cli import show
    from eval.selection.command import measure_selection

    with show.progress(lambda progress: "") as on_progress:
        folder, report = measure_selection(
            dataset, profile=profile, limit=limit, ways=ways, seed=seed, out=out, data=data,
            on_progress=lambda doing, done, total: on_progress(show.Count(doing, done, total)),
        )  # fmt: skip
    if as_json:
        show.print_json((folder / "selection.json").read_text(encoding="utf-8").rstrip())
    else:
        typer.echo(report.tables)
    _print_left_out(show.console(stderr=True), report.bad, ())
    show.console(stderr=True).print(f"{folder}/selection.md, selection.json, selection.png", soft_wrap=True)


def _write_page(path: Path, runs: list[Path]) -> None:
    """Write the HTML page; name on standard error what is missing from it."""
    from espresso.cli import show
    from eval.judge.results import read_verdicts
    from eval.report import html as page
    from eval.run import RunProgress

    verdicts = [read_verdicts(run) for run in runs]
    with show.progress(_details) as on_progress:
        gone = page.write(
            path, runs, verdicts=verdicts, on_clip=lambda done, total: on_progress(RunProgress("decoding pictures", done, total))
        )
    if gone:
        note = f"{path} has no pictures of {len(gone)} videos that were moved or changed; the first: {gone[0]}"
        show.console(stderr=True).print(note, soft_wrap=True)


def _print_left_out(console: Console, bad: Sequence[object], missing: Sequence[str]) -> None:
    """Print the number of bad rows and missing videos, and the first of each."""
    for what, items in (("rows that cannot be read", bad), ("missing videos", missing)):
        if items:
            console.print(f"left out: {len(items)} {what}; the first: {items[0]}", soft_wrap=True)


def _files(data: Path | None, videos: Path | None) -> DatasetFiles | None:
    """Return the user's copy of a dataset. Raises DataError if --videos comes without --data."""
    from espresso.datasets import DatasetFiles
    from espresso.errors import DataError

    if data is None and videos:
        raise DataError("--videos needs --data. Give the file of questions too.")
    return DatasetFiles(data, videos) if data else None


def _details(progress: RunProgress) -> str:
    """Return the accuracy so far, and the number of errors if there are any."""
    accuracy = f"{progress.right / progress.done:.1%} correct" if progress.done and progress.doing == "answering" else ""
    return accuracy + (f", {progress.errors} errors" if progress.errors else "")


def _task_table(summary: RunSummary) -> Table:
    from rich.table import Table

    config, metrics = summary.configuration, summary.metrics
    profile = Path(config.profile["name"]).name.replace(".toml", "")
    table = Table(title=f"{config.bench} {config.split}, {profile}, {config.strategy}", title_justify="left")
    table.add_column("task")
    for head in ("questions", "accuracy", "95 % interval"):
        table.add_column(head, justify="right")
    for task in summary.tasks:
        table.add_row(task.task, str(task.n), f"{task.accuracy:.1%}", f"{task.accuracy_low:.1%} to {task.accuracy_high:.1%}")
    table.add_section()
    interval = f"{metrics.accuracy_low:.1%} to {metrics.accuracy_high:.1%}"
    table.add_row("all", str(metrics.n), f"{metrics.accuracy:.1%}", interval, style="bold")
    if metrics.consistency is not None:
        interval = f"{metrics.consistency_low:.1%} to {metrics.consistency_high:.1%}"
        table.add_row("groups answered correctly", str(metrics.groups), f"{metrics.consistency:.1%}", interval)
    if metrics.weighted_accuracy is not None:
        interval = f"{metrics.weighted_accuracy_low:.1%} to {metrics.weighted_accuracy_high:.1%}"
        table.add_row("weighted by difficulty", str(metrics.n), f"{metrics.weighted_accuracy:.1%}", interval)
    return table


def _metrics_table(summary: RunSummary) -> Table:
    """Return the metrics that `_task_table` does not show, by the names of the JSON output."""
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in summary.metrics.model_dump().items():
        if not name.startswith(("accuracy", "consistency", "weighted")) and value is not None and name not in ("n", "groups"):
            table.add_row(name, f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}")
    return table
