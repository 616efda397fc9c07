"""`espresso annotate VIDEO... --out data.jsonl`: construct a dataset from raw videos.

espresso annotate clips/*.mp4 --out data.jsonl
espresso annotate stats data.jsonl --out statistics
espresso annotate page data.jsonl --out review.html
espresso annotate export data.jsonl --out dataset --format datasets --test-share 0.1
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from agents.annotate import AnnotateProgress, AnnotateSummary

SHOWN = 10
"""Number of videos that are listed with a reason; all are counted."""


class VideosOrCommand(TyperGroup):
    """A group whose first command runs if the first argument names none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the name of the first command unless a command or help is requested."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=VideosOrCommand, no_args_is_help=True, help="Construct a dataset: espresso annotate VIDEO... --out data.jsonl"
)


@app.callback()
def annotate() -> None:
    """Construct a dataset: espresso annotate VIDEO... --out data.jsonl."""


@app.command()
def run(
    videos: list[Path] = typer.Argument(metavar="VIDEO...", help="Videos, or folders that contain videos at any depth."),
    *,
    out: Path = typer.Option(help="JSONL file of the questions. Run the same command again to resume or to add videos."),
    profile: str | None = typer.Option(None, help="The models: a name or a TOML file. Default: ESPRESSO_PROFILE, else tiny."),
    sampling: str | None = typer.Option(None, help="Sampling plan, such as adaptive-128. Default: the profile's."),
    questions: int = typer.Option(3, min=1, help="Most questions about a group of up to fifteen scenes."),
    distractors: bool = typer.Option(
        True, "--distractors/--no-distractors", help="Write wrong options and reject questions that need no video."
    ),
    max_cost: float | None = typer.Option(None, min=0.0, help="The most to spend in this call, in dollars. Default: no limit."),
    engine: Literal["local", "ray"] = typer.Option("local", help="Where videos are annotated."),
    address: str | None = typer.Option(None, help="Address of the Ray cluster. Default: one on this machine."),
    workers: int | None = typer.Option(None, help="Number of Ray workers. Default: as many as there is room for."),
    allow_out_of_domain: bool = typer.Option(
        False, "--allow-out-of-domain", help="Annotate videos that the profile's models do not know."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the summary as one JSON document."),
) -> None:
    """Write questions with core frames, evidence and options about videos."""
    from agents.annotate import annotate as construct
    from espresso.cli import show

    with show.progress(_details) as on_progress:
        summary = construct(
            _find(videos),
            out,
            profile=profile,
            sampling=sampling,
            questions=questions,
            distractors=distractors,
            max_cost=max_cost,
            executor=engine,
            address=address,
            workers=workers,
            allow_out_of_domain=allow_out_of_domain,
            on_progress=on_progress,
        )
    if as_json:
        show.print_json(summary.model_dump_json(indent=2))
        return
    for line in _lines(summary):
        show.console().print(line, soft_wrap=True)


def _find(inputs: list[Path]) -> list[Path]:
    """Return the videos: files as they are, and the videos in folders, sorted by path."""
    from espresso.datasets.videos import VIDEO_SUFFIXES
    from espresso.errors import DataError

    videos = list[Path]()
    for path in inputs:
        inside = sorted(each for each in path.rglob("*") if each.suffix.lower() in VIDEO_SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"{path}: no video in this folder . Give another one.")
        videos += inside
    return videos


def _details(progress: AnnotateProgress) -> str:
    parts = [f"{progress.kept} questions", f"{progress.rejected} rejected"]
    parts += [f"{progress.skipped} videos skipped"] if progress.skipped else []
    parts += [f"${progress.dollars:.2f}"] if progress.dollars else []
    return ", ".join(parts)


def _lines(summary: AnnotateSummary) -> list[str]:
    rejected = ", ".join(f"{count} by {node}" for node, count in summary.rejected.items())
    lines = [f"{summary.out}: {summary.questions} questions about {summary.videos} videos"]
    lines += [f"{summary.rejected_file}: {sum(summary.rejected.values())} rejected pairs ({rejected})"] if rejected else []
    wanted, found, verified = (summary.boxes[name] for name in ("wanted", "found", "verified"))
    lines += [f"boxes: {found} found for {wanted} key items in core frames, {verified} verified and kept"] if wanted else []
    lines += [f"cost: ${summary.dollars:.4g}"] if summary.dollars is not None else []
    for title, reasons in (("no question", summary.without_question), ("skipped", summary.skipped)):
        for source, reason in list(reasons.items())[:SHOWN]:
            lines.append(f"{title}: {reason if reason.startswith(source) else f'{source}: {reason}'}")
        lines += [f"{title}: {len(reasons)} videos in total"] if len(reasons) > SHOWN else []
    return lines


@app.command()
def stats(
    data: Path = typer.Argument(help="JSONL file of questions that `espresso annotate` wrote."),
    *,
    out: Path = typer.Option(help="Folder for statistics.json and statistics.png."),
    as_json: bool = typer.Option(False, "--json", help="Print the statistics as one JSON document."),
) -> None:
    """Draw the statistics of the paper's Figures 3, 4 and 12."""
    from agents.annotate.dataset.stats import write_statistics
    from espresso.cli import show

    statistics = write_statistics(data, out)
    if as_json:
        show.print_json(statistics.model_dump_json(indent=2))
    else:
        typer.echo(f"{out}: statistics of {statistics.questions} questions")


@app.command()
def page(
    data: Path = typer.Argument(help="JSONL file of questions that `espresso annotate` wrote."),
    *,
    out: Path | None = typer.Option(None, help="The page. Default: DATA with the ending .html."),
) -> None:
    """Write a page to review questions by key press; `export` honours the decisions."""
    from agents.annotate.dataset.page import write_page
    from espresso.cli import show

    file = out or data.with_suffix(".html")
    with show.progress(lambda _: "") as on_progress:
        write_page(data, file, on_progress=lambda done, total: on_progress(show.Count("decoding videos", done, total)))
    typer.echo(f"{file}: open it in a browser; save the decisions as {data.with_suffix('.decisions.json')}")


@app.command()
def export(
    data: Path = typer.Argument(help="JSONL file of questions that `espresso annotate` wrote."),
    *,
    out: Path = typer.Option(help="Folder for the dataset."),
    layout: Literal["records", "videoespresso", "datasets"] = typer.Option(
        "records", "--format", help="Files of this project, of VideoEspresso, or of Hugging Face datasets."
    ),
    test_share: float = typer.Option(0.0, min=0.0, max=0.9, help="Share of the videos in the test split."),
    decisions: Path | None = typer.Option(None, help="Decisions of the review page. Default: DATA with .decisions.json."),
    as_json: bool = typer.Option(False, "--json", help="Print the summary as one JSON document."),
) -> None:
    """Divide the questions into splits without shared videos, and write them in a public format."""
    from agents.annotate.dataset.export import export as write
    from espresso.cli import show

    summary = write(data, out, format=layout, test_share=test_share, decisions=decisions)
    if as_json:
        show.print_json(summary.model_dump_json(indent=2))
        return
    for name, split in summary.splits.items():
        typer.echo(f"{out}: {name}: {split.questions} questions about {split.videos} videos")
    if summary.dropped:
        typer.echo(f"{summary.dropped} questions were dropped by decision")
