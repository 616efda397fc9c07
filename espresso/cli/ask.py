"""`espresso ask clip.mp4 "What hits the blue square?" --option "the red circle" --option "the green star"`."""

from __future__ import annotations

import os
from pathlib import Path

import typer

app = typer.Typer(add_completion=False)


@app.command()
def ask(
    asked: list[str] = typer.Argument(metavar='VISUAL... "QUESTION"', help="Images and videos, then the question."),
    *,
    option: list[str] = typer.Option([], help="An option to choose from: two or more, or none for a free answer."),
    profile: str | None = typer.Option(
        None, help="Which models answer: a name or a TOML file. Else ESPRESSO_PROFILE, else tiny."
    ),
    strategy: str = typer.Option("selector", help="How core frames are found: selector, uniform, all or blind."),
    frames: int | None = typer.Option(None, help="The most core frames to select, or how many frames uniform takes."),
    cache: bool = typer.Option(True, "--cache/--no-cache", help="Whether captions are kept for the next question."),
    allow_urls: bool = typer.Option(False, "--allow-urls", help="Let visuals be fetched from http and https addresses."),
    as_json: bool = typer.Option(False, "--json", help="Print the answer as one JSON document."),
    report: Path | None = typer.Option(None, help="Write one self-contained HTML page about the answer."),
) -> None:
    """Ask a question about images and videos."""
    from rich.console import Console

    from agents.ask import ask as ask_graph
    from espresso import media
    from espresso import report as reports
    from espresso.cli import show
    from espresso.errors import QuestionError

    *visuals, text = asked
    if not visuals or os.path.exists(text):
        raise QuestionError(
            f"{text}: this stands where the question should. Give the images and videos first, then the question."
        )
    if report:
        reports.check(report)
    with show.waiting("asking") as on_progress:
        clips = [media.open(visual, allow_urls=allow_urls) for visual in visuals]
        answer = ask_graph(
            clips,
            text,
            options=option or None,
            profile=profile,
            strategy=strategy,
            frames=frames,
            cache=cache,
            on_progress=on_progress,
        )
        if report:
            reports.write(report, [answer], clips)
    show.notes([answer])
    if as_json:
        typer.echo(answer.model_dump_json(indent=2))
    else:
        Console().print(show.answered(answer))
