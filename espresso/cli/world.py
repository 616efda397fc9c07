"""`espresso world`: make clips and questions of the procedural world, and export them."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from espresso.options import UNIFORM_FRAMES

app = typer.Typer(no_args_is_help=True, help="Generate video clips of the procedural world, with questions and ground truth.")


@app.callback()
def world() -> None:
    """Generate video clips of the procedural world, with questions and ground truth."""


@app.command()
def make(
    out: Annotated[Path, typer.Option(help="Folder for clips and questions. Existing clips are kept.")],
    split: Annotated[Literal["train", "val", "test", "demo"], typer.Option(help="Split to generate.")] = "train",
    count: Annotated[int, typer.Option(help="Number of questions; the tasks alternate.")] = 28,
    size: Annotated[int, typer.Option(help="Width and height of the clips in pixels, an even number.")] = 224,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Render clips, and write questions.jsonl with the ground truth next to them."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from espresso.cli import show
    from espresso.world import make

    columns = (TextColumn("rendering clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=show.console(stderr=True)) as progress:
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
    folder: Annotated[Path, typer.Argument(help="Folder that `espresso world make` wrote. The files are added to it.")],
    frames: Annotated[int, typer.Option(help="Number of frames that the task espresso_world_frames shows.")] = UNIFORM_FRAMES,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Add lmms-eval tasks to the folder: lmms-eval --include_path FOLDER --tasks espresso_world."""
    from eval.lmms_eval.export import export_world

    questions = export_world(folder, frames=frames)
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "questions": questions, "frames": frames}))
    else:
        typer.echo(f"{folder}: the lmms-eval tasks espresso_world and espresso_world_frames, {questions} questions")
