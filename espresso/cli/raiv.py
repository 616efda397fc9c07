"""`espresso raiv`: pairs of images and videos with true and false statements.

espresso raiv build --source world --kind im-im --count 3000 --out pairs.jsonl
espresso raiv build --source imsitu --annotations ANNOTATIONS --media IMAGES --out pairs.jsonl
espresso raiv write pairs.jsonl --profile api --max-cost 2 --out pairs-g.jsonl
espresso raiv check pairs.jsonl
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from agents.raiv_write import WriteProgress, WriteSummary
    from espresso.datasets.raiv import Built, PairCheck
    from espresso.datasets.rows import BadRow

SHOWN = 5
"""Number of bad annotations and missing files that are listed; all are counted."""

app = typer.Typer(no_args_is_help=True, help="Build and check statements about pairs of images and videos (RAIV).")


@app.callback()
def raiv() -> None:
    """Build and check statements about pairs of images and videos (RAIV)."""


@app.command()
def build(
    out: Path = typer.Option(help="JSONL file for the pairs. It must not exist."),
    source: Literal["world", "imsitu", "vidsitu", "imsitu+vidsitu", "ip2p", "world-edits"] = typer.Option(
        "world", help="The generated world, annotation files, or edited images (of InstructPix2Pix or the world)."
    ),
    kind: Literal["im-im", "im-vid", "vid-vid"] = typer.Option("im-im", help="What the two visuals of a pair are."),
    count: int = typer.Option(3000, min=20, help="Number of pairs in train, val and test together, 7:1:2."),
    seed: int = typer.Option(0, help="Seed of the sampling."),
    annotations: Path | None = typer.Option(None, help="Folder that contains the annotation files, at any depth."),
    media: Path | None = typer.Option(
        None, help="Folder that contains the images and clips, at any depth. Default: visuals are not looked for."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Sample pairs with true and false statements, and print the paper's Table 1 for them."""
    from espresso.cli import show
    from espresso.datasets.raiv import check, edited, files, pairs
    from espresso.errors import DataError

    files.refuse_existing(out)
    if source == "ip2p" or source == "world-edits":  # noqa: PLR1714 - narrows the type
        if kind != "im-im":
            raise DataError("edited images are two images. Leave out --kind.")
        if source == "ip2p" and annotations is None:
            raise DataError("edited images are read from your files. Give --annotations FOLDER.")
        edits = edited.read(annotations) if source == "ip2p" and annotations else files.load_world_edits(count)
        bad, missing, notes = edits.bad, edits.missing, tuple[str, ...]()
        built = edited.build(edits.edits, count, seed)
    else:
        if source == "world":
            with show.progress(lambda _: "") as on_progress:
                loaded = files.load_world(kind, count, lambda done, total: on_progress(show.Count("making stories", done, total)))
        else:
            loaded = files.load(source, kind, annotations, media)
        bad, missing, notes = loaded.bad, loaded.missing, loaded.notes
        common = 1.0 if source == "world" else pairs.COMMON
        built = pairs.build(kind, loaded.situations, count, seed, abstracts=loaded.abstracts, common=common)
    files.write(out, built.pairs)
    result = check(out)
    if as_json:
        dropped = {"bad": list(map(str, bad)), "missing": missing, "common": built.common, "alone": built.alone}
        show.print_json(json.dumps({"file": str(out), **result.model_dump(), **dropped, "notes": [*notes, *built.notes]}))
    else:
        console = show.console()
        console.print(_table_1(f"{out}: {kind}", result))
        for line in (*_left_out(bad, missing, built), *notes, *built.notes, *_facts(result)):
            console.print(line, soft_wrap=True)
    _exit(result)


@app.command()
def write(
    pairs: Path = typer.Argument(help="File that `espresso raiv build` wrote."),
    *,
    out: Path = typer.Option(help="JSONL file for the new pairs. Run the same command again to resume."),
    profile: str | None = typer.Option(None, help="Profile with a [writer]: a name or a TOML file. Default: ESPRESSO_PROFILE."),
    annotations: Path | None = typer.Option(None, help="Folder of the annotations of which the pairs were built."),
    media: Path | None = typer.Option(None, help="Folder of images and clips, as when the pairs were built."),
    seed: int = typer.Option(0, help="Seed of the choice of what statements say, and of the false pairs."),
    max_cost: float | None = typer.Option(None, min=0.0, help="The most to spend in this call, in dollars. Default: no limit."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Let a chat model write statements in natural language from the annotations (suffix G)."""
    from agents.raiv_write import write_statements
    from espresso.cli import show
    from espresso.datasets.raiv import check

    with show.progress(_details) as on_progress:
        summary = write_statements(
            pairs,
            out,
            annotations=annotations,
            media=media,
            profile=profile,
            seed=seed,
            max_cost=max_cost,
            on_progress=on_progress,
        )
    result = check(out)
    if as_json:
        show.print_json(json.dumps({"summary": summary.model_dump(), **result.model_dump()}))
    else:
        show.console().print(_table_1(str(out), result))
        for line in (*_not_written(summary), *_facts(result)):
            show.console().print(line, soft_wrap=True)
    _exit(result)


@app.command()
def check(
    file: Path = typer.Argument(help="JSONL file of pairs that `espresso raiv build` wrote."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Check balance, leakage and reasons of a file; the exit code is 1 if a guarantee is broken."""
    from espresso.cli import show
    from espresso.datasets.raiv import check

    result = check(file)
    if as_json:
        show.print_json(result.model_dump_json(indent=2))
    else:
        show.console().print(_table_1(str(file), result))
        for line in _facts(result):
            show.console().print(line, soft_wrap=True)
    _exit(result)


def _table_1(title: str, result: PairCheck) -> Table:
    """Return the row of the paper's Table 1, with the balance of each split."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for head in ("U-Im", "U-S", "I-Tr", "I-Val", "I-Test", "I-Tot"):
        table.add_column(head, justify="right")
    sizes = [result.instances[split] for split in ("train", "val", "test")]
    table.add_row(*(f"{number:,}" for number in (result.visuals, result.statements, *sizes, sum(sizes))))
    return table


def _facts(result: PairCheck) -> list[str]:
    """Return the lines below the table."""
    shares = ", ".join(f"{split} {share:.1%}" for split, share in result.true_share.items())
    guesses = ", ".join(f"{split} {share:.1%}" for split, share in result.text_accuracy.items())
    return [
        *([f"statements of a model: {result.written:,} pairs"] if result.written else []),
        f"true statements: {shares}",
        f"best guess from the statement alone: {guesses}",
        f"reasons: {result.reasons:,}; best guess from template and wording alone: {result.reason_text_accuracy:.1%}",
        f"evenness (1 is even): {result.verbs:,} verbs {result.verb_evenness:.2f}, "
        f"{result.objects:,} nouns {result.object_evenness:.2f}",
    ]


def _left_out(bad: tuple[BadRow, ...], missing: tuple[str, ...], built: Built) -> list[str]:
    """Return what was not used, and why."""
    lines = []
    for title, items in (("bad annotation", tuple(map(str, bad))), ("missing", missing)):
        lines += [f"{title}: {item}" for item in items[:SHOWN]]
        lines += [f"{title}: {len(items):,} in total"] if len(items) > SHOWN else []
    if built.common:
        shown = ", ".join(f"{noun} {share:.0%}" for noun, share in list(built.common.items())[:SHOWN])
        lines.append(
            f"too common, not used as objects: {len(built.common)} ({shown}{', ...' if len(built.common) > SHOWN else ''})"
        )
    if built.alone:
        lines.append(f"without an object that others can share: {built.alone:,} visuals")
    return lines


def _details(progress: WriteProgress) -> str:
    parts = [f"{progress.faults} cannot be used"] if progress.faults else []
    return ", ".join([*parts, f"${progress.dollars:.2f}"] if progress.dollars else parts)


def _not_written(summary: WriteSummary) -> list[str]:
    """Return what was left out, and the cost."""
    counts = {
        "true pairs without a false one": summary.without_false_pair,
        "replies requested again": summary.retried,
        "statements that cannot be used": summary.unusable,
        "statements written before": summary.repeated,
        "statements beyond 7:1:2": summary.surplus,
    }
    lines = [f"{what}: {count:,}" for what, count in counts.items() if count]
    lines += [f"cannot be used: {each}" for each in summary.faults]
    lines += [f"cost: ${summary.dollars:.4g}"] if summary.dollars is not None else []
    return [*lines, f"all replies: {summary.replies}"]


def _exit(result: PairCheck) -> None:
    """Print broken guarantees to standard error, and exit with code 1 if there are any."""
    for problem in result.problems[:SHOWN]:
        typer.echo(problem, err=True)
    if result.problems:
        typer.echo(f"{len(result.problems)} guarantees are broken. Build the file again.", err=True)
        raise typer.Exit(1)
