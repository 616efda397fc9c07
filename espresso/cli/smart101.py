"""`espresso smart101`: generated visual puzzles in the layout of SMART-101, and checks of folders.

espresso smart101 build --out puzzles --count 2000
espresso smart101 check SMART101-Data --split ps-test
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import typer

SHOWN = 5
"""Number of bad rows and missing images that are listed; all are counted."""

app = typer.Typer(no_args_is_help=True, help="Generate visual puzzles, and check folders of puzzles (SMART-101).")


@app.callback()
def smart101() -> None:
    """Generate visual puzzles, and check folders of puzzles (SMART-101)."""


@app.command()
def build(
    out: Path = typer.Option(help="Folder to write. The same command resumes."),
    count: int = typer.Option(2000, min=1, help="Instances of each puzzle; the splits expect 2,000."),
    puzzle: list[int] | None = typer.Option(None, help="Id of a puzzle. May be repeated. Default: all that are generated."),
    seed: int = typer.Option(0, help="Seed of the instances."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Write generated puzzles with images, CSV files and the index, as the dataset is published."""
    from espresso.cli import show
    from espresso.datasets.smart101 import make
    from espresso.datasets.smart101.puzzles import PUZZLES

    ids = sorted(set(puzzle or PUZZLES))
    with show.progress(lambda _: "") as on_progress:
        make.build(out, ids, count, seed, lambda done, total: on_progress(show.Count("drawing puzzles", done, total)))
    if as_json:
        typer.echo(json.dumps({"folder": str(out), "puzzles": ids, "count": count, "seed": seed}))
    else:
        show.console().print(f"{out}: {len(ids)} puzzles with {count:,} instances each", soft_wrap=True)


@app.command()
def check(
    folder: Path = typer.Argument(help="The folder SMART101-Data, or one that `espresso smart101 build` wrote."),
    split: str = typer.Option("test", help="Part of a split, such as test, ps-val or fs-train."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Read a split; print the questions of each skill, bad rows, missing images and assumptions."""
    from rich.table import Table

    from espresso.cli import show
    from espresso.datasets.smart101 import data
    from espresso.errors import DataError

    if split not in data.SPLITS:
        raise DataError(f"no split {split!r}. Choose one of {', '.join(data.SPLITS)}.")
    found = data.read(folder, split)
    skills = Counter(each.skill for each in found.rows)
    bad = [str(each) for each in found.bad]
    if as_json:
        told = {"split": split, "questions": len(found.rows), "skills": skills, "bad": bad, "missing": found.missing}
        show.print_json(json.dumps({**told, "notes": found.notes}))
        return
    table = Table(title=f"{folder}: {split}", title_justify="left")
    table.add_column("skill")
    for head in ("puzzles", "questions"):
        table.add_column(head, justify="right")
    for skill, count in skills.items():
        table.add_row(skill, str(len({each.row.puzzle for each in found.rows if each.skill == skill})), f"{count:,}")
    console = show.console()
    console.print(table)
    for title, items in (("bad row", bad), ("missing image", found.missing)):
        for item in [*items[:SHOWN], *([f"{len(items):,} in total"] if len(items) > SHOWN else [])]:
            console.print(f"{title}: {item}", soft_wrap=True)
    for note in found.notes:
        console.print(f"note: {note}", soft_wrap=True)
