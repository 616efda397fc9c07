"""`espresso demo`: render a new clip and ask three questions about it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.text import Text

    from espresso.schema import Answer, Question

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    *,
    seed: int | None = typer.Option(None, help="Seed of the clip. Default: a random one."),
    as_json: bool = typer.Option(False, "--json", help="Print the answers as one JSON document."),
) -> None:
    """Render a clip, ask three questions about it, and write a report to ./espresso-demo."""
    from rich.text import Text

    from agents.ask import ask
    from agents.session import Session
    from espresso import media, report, world
    from espresso.cli import show

    seed = secrets.randbelow(2**31) if seed is None else seed
    folder = _new_folder()
    with show.waiting("rendering a clip") as on_progress, Session("tiny") as session:
        session.roles.preload()
        questions = world.demo_clip(folder / "clip.mp4", seed)
        clip = media.open(folder / "clip.mp4")
        answers = [
            ask(clip, question.text, options=question.options, session=session, on_progress=on_progress) for question in questions
        ]
        report.write(folder / "espresso-demo.html", answers, [clip])
    show.notes(answers)
    if as_json:
        show.print_json("[" + ",\n".join(answer.model_dump_json(indent=2) for answer in answers) + "]")
        return
    console = show.console()
    console.print(Text.assemble(("Captions", "bold"), (f" (seed {seed})", "dim")))
    console.print(show.captions(answers[0].captions))
    for question, answer in zip(questions, answers, strict=True):
        console.print(show.answered(answer))
        console.print(_score(question, answer))
    place = Text.assemble("The clip and the report are in ", (str(folder), "bold"), f": open {folder / 'espresso-demo.html'}")
    console.print(place, soft_wrap=True)


def _score(question: Question, answer: Answer) -> Text:
    """Say whether the answer is correct. The reference was not used before."""
    from rich.text import Text

    if answer.text == question.answer:
        return Text.assemble("  ", ("correct", "green"), "\n")
    return Text.assemble("  ", ("wrong", "red"), f", the correct answer is: {question.answer}\n")


def _new_folder() -> Path:
    """Create ./espresso-demo, or a numbered one if it exists, so that nothing is overwritten."""
    from espresso.errors import DataError

    names = ("espresso-demo", *(f"espresso-demo-{number}" for number in range(2, 1000)))
    folder = next((Path(name) for name in names if not os.path.lexists(name)), Path(names[0]))
    try:
        folder.mkdir()
    except OSError as error:
        raise DataError(
            f"{folder.absolute()}: cannot create the folder ({error.strerror}). Run the demo in a folder that you can write to."
        ) from error
    return folder
