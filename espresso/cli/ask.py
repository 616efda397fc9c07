"""`espresso ask clip.mp4 "What hits it?" --option "the circle" --option "the star"`: ask."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import typer

app = typer.Typer(add_completion=False)


@app.command()
def ask(
    inputs: list[str] = typer.Argument(
        metavar='VISUAL... "QUESTION"', help="Images and videos, then the question. clip.mp4#t=4,6 is the part from 4 s to 6 s."
    ),
    *,
    option: list[str] = typer.Option([], help="An option to choose from. Give two or more, or none for a free answer."),
    profile: str | None = typer.Option(
        None, help="The models: name of a profile or a TOML file. Default: ESPRESSO_PROFILE, else tiny."
    ),
    strategy: Literal["selector", "uniform", "all", "blind", "classifier"] | None = typer.Option(
        None,
        help="How core frames are found; classifier needs one in the profile, and finds no evidence. Default: the profile's.",
    ),
    frames: int | None = typer.Option(None, help="Most core frames to select, or the number of frames of uniform."),
    cache: bool = typer.Option(True, "--cache/--no-cache", help="Cache captions for later questions."),
    allow_urls: bool = typer.Option(False, "--allow-urls", help="Fetch visuals from http and https URLs."),
    allow_out_of_domain: bool = typer.Option(
        False, "--allow-out-of-domain", help="Answer about visuals that the profile's models do not know, with a warning."
    ),
    boxes: bool = typer.Option(
        False, "--boxes", help="Locate the things that the evidence names in the core frames; the profile needs a detector."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the answer as one JSON document."),
    report: Path | None = typer.Option(None, help="Write one self-contained HTML page about the answer."),
) -> None:
    """Ask a question about images and videos."""
    from agents.ask import ask as ask_question
    from agents.session import Session
    from espresso import media
    from espresso import report as reports
    from espresso.cli import show
    from espresso.errors import EspressoError, QuestionError
    from espresso.media.fetch import is_url, public

    *paths, text = inputs
    if not paths or os.path.exists(text) or os.path.exists(media.split_segment(text)[0]) or is_url(text):
        shown = public(text) if is_url(text) else text
        raise QuestionError(f"{shown}: expected the question here. Give the images and videos first, then the question.")
    if report:
        reports.check(report)
    with show.waiting("asking") as on_progress, Session(profile, cache=cache) as session:
        visuals = [media.open(path, allow_urls=allow_urls) for path in paths]
        answer = ask_question(
            visuals,
            _as_text(text),
            options=[_as_text(each) for each in option] or None,
            session=session,
            strategy=strategy,
            frames=frames,
            allow_out_of_domain=allow_out_of_domain,
            boxes=boxes,
            on_progress=on_progress,
        )
        failure = None
        try:
            if report:
                reports.write(report, [answer], visuals)
        except EspressoError as error:  # after the answer, which is paid for
            failure = error
    show.notes([answer])
    if as_json:
        show.print_json(answer.model_dump_json(indent=2))
    else:
        show.console().print(show.answered(answer))
    if failure:
        raise failure


def _as_text(argument: str) -> str:
    """Return an argument as text: it is UTF-8 even if the locale says otherwise."""
    try:
        return os.fsencode(argument).decode()
    except UnicodeError:
        return argument
