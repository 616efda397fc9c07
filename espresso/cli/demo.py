"""`espresso demo`: a clip that nobody has seen before, three questions about it, and why each is answered as it is."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from espresso.schema import Answer, Question

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    *,
    seed: int | None = typer.Option(None, help="Which clip of the world to make; a fresh one by default."),
    as_json: bool = typer.Option(False, "--json", help="Print the answers as one JSON document."),
) -> None:
    """Make a clip, ask three questions about it, and leave the clip and a report in ./espresso-demo."""
    from rich.console import Console

    from agents.ask import ask
    from espresso import media, profiles, report, world
    from espresso.cli import show
    from espresso.models import connect

    roles = connect(profiles.load("tiny"))
    roles.preload()
    seed = secrets.randbelow(2**31) if seed is None else seed
    folder = _new_folder()
    with show.waiting("making a clip") as on_progress:
        questions = world.demo_clip(folder / "clip.mp4", seed)
        clip = media.open(folder / "clip.mp4")
        answers = [
            ask(clip, question.text, options=question.options, profile="tiny", roles=roles, on_progress=on_progress)
            for question in questions
        ]
        report.write(folder / "espresso-demo.html", answers, [clip])
    show.notes(answers)
    if as_json:
        typer.echo("[" + ",\n".join(answer.model_dump_json(indent=2) for answer in answers) + "]")
        return
    console = Console()
    console.print(f"[bold]What the captioner sees[/bold] [dim](seed {seed})[/dim]")
    console.print(show.seen(answers[0].captions))
    for question, answer in zip(questions, answers, strict=True):
        console.print(show.answered(answer))
        console.print(_verdict(question, answer))
    console.print(f"The clip and the report are in [bold]{folder}[/bold]: open {folder / 'espresso-demo.html'}", soft_wrap=True)


def _verdict(question: Question, answer: Answer) -> str:
    """Whether the answer is right: the world knows, and was not asked before now."""
    if answer.text == question.answer:
        return "  [green]right[/green]\n"
    return f"  [red]wrong[/red], it is: {question.answer}\n"


def _new_folder() -> Path:
    """./espresso-demo, or with a number where that is taken: nothing of anybody's is overwritten."""
    from espresso.errors import DataError

    names = ("espresso-demo", *(f"espresso-demo-{number}" for number in range(2, 1000)))
    folder = next((Path(name) for name in names if not os.path.lexists(name)), Path(names[0]))
    try:
        folder.mkdir()
    except OSError as error:
        raise DataError(f"{folder.absolute()}: cannot be made ({error.strerror}). Run the demo in a folder of yours.") from error
    return folder
