"""`espresso world`: clips and questions of the procedural world, and their export to lmms-eval."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Make clips of the procedural world, with questions and everything that is true of them."
)


@app.callback()
def world() -> None:
    """Make clips of the procedural world, with questions and everything that is true of them."""


@app.command()
def make(
    out: Annotated[Path, typer.Option(help="Folder for clips and questions; what is there already is kept.")],
    split: Annotated[str, typer.Option(help="train, val, test or demo.")] = "train",
    count: Annotated[int, typer.Option(help="How many questions; the tasks take turns.")] = 28,
    size: Annotated[int, typer.Option(help="Pixels a side, even.")] = 224,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Render clips and write questions.jsonl with the truth beside them."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from espresso.errors import DataError
    from espresso.world import SPLITS, make

    if split not in SPLITS:
        raise DataError(f"no split is called {split!r}. The splits are {', '.join(SPLITS)}.")
    columns = (TextColumn("rendering clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("clips", total=None)
        questions = make(
            split, count, out, size=size, on_clip=lambda done, total: progress.update(bar, completed=done, total=total)
        )
    clips = len({question.visuals for question in questions})
    if as_json:
        typer.echo(json.dumps({"folder": str(out), "split": split, "questions": len(questions), "clips": clips}))
    else:
        typer.echo(f"{out / 'questions.jsonl'}: {len(questions)} questions about {clips} clips")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where `espresso world make` made clips; the files are put beside them.")],
    frames: Annotated[int, typer.Option(help="How many frames the task espresso_world_frames shows.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make the folder a task folder of lmms-eval: lmms-eval --include_path FOLDER --tasks espresso_world."""
    from eval.lmms_eval.export import export as export_world

    questions = export_world(folder, frames=frames)
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "questions": questions, "frames": frames}))
    else:
        typer.echo(f"{folder}: the lmms-eval tasks espresso_world and espresso_world_frames, {questions} questions")
