"""`espresso finetune`: train models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from finetune.config import LoraConfig
    from finetune.lora.collate import StageName

SHOWN_BAD_ROWS = 10

app = typer.Typer(no_args_is_help=True, help="Train models from a config file.")


@app.callback()
def finetune() -> None:
    """Train models from a config file."""


@app.command()
def evidence(
    config: Annotated[Path, typer.Argument(help="A YAML file such as finetune/configs/tiny.yaml.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps, instead of the config's epochs.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of both adapters, instead of the config's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the adapter's lineage as one JSON document.")] = False,
) -> None:
    """Train the first stage: core frames and a question -> evidence. The same command goes on where it was interrupted."""
    from finetune.config import LoraConfig, read

    _stage(read(config, LoraConfig, output=output), "evidence", steps, as_json)


@app.command()
def answer(
    config: Annotated[Path, typer.Argument(help="The config that the first stage was trained with.")],
    source: Annotated[
        str | None, typer.Option("--evidence", help="Whose evidence: truth, predicted, mix, none or joint.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps, instead of the config's epochs.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of both adapters, instead of the config's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the adapter's lineage as one JSON document.")] = False,
) -> None:
    """Train the second stage: frames, question and evidence -> answer. Goes on from the first stage's adapter."""
    from finetune.config import LoraConfig, read

    _stage(read(config, LoraConfig, output=output, **{"answer.evidence": source}), "answer", steps, as_json)


def _stage(settings: LoraConfig, stage: StageName, steps: int | None, as_json: bool) -> None:
    from rich.console import Console

    from finetune.lora.stages import finetune as run

    console = Console(stderr=True)
    made, loaded = run(settings, stage, steps=steps)
    for note in loaded.notes:
        console.print(note)
    for row in loaded.bad[:SHOWN_BAD_ROWS]:
        console.print(f"left out: {row.where}: {row.why}")
    if len(loaded.bad) > SHOWN_BAD_ROWS:
        console.print(f"and {len(loaded.bad) - SHOWN_BAD_ROWS} more rows left out")
    if as_json:
        typer.echo(made.model_dump_json(indent=2))
        return
    held_out = f", held-out loss {made.before['loss']:.3f} -> {made.after['loss']:.3f}" if made.before else ""
    typer.echo(f"{settings.output / stage}: {made.rows} rows, {made.bad} left out, {made.steps} steps{held_out}")


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="The config that both stages were trained with.")],
    server: Annotated[str, typer.Option(help="Address of a server that offers both, such as http://localhost:8000/v1.")],
    model: Annotated[str, typer.Option(help="The name under which it offers the base.")],
    limit: Annotated[int, typer.Option(min=1, help="How many held-out questions to ask.")] = 100,
    output: Annotated[Path | None, typer.Option(help="Folder of both adapters, instead of the config's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compare the trained adapters, in this process, with those that a vLLM server serves."""
    import json

    from finetune.config import LoraConfig, read
    from finetune.lora.verify_served import served

    found = served(read(config, LoraConfig, output=output), server, model, limit)
    if as_json:
        typer.echo(json.dumps([each.model_dump() for each in found]))
        return
    for each in found:
        typer.echo(
            f"{each.stage}: {each.same:.1%} of {each.n} replies are the same here and there; "
            f"the served adapter changes {each.changed:.1%} of the base's"
        )


@app.command()
def ablate(
    config: Annotated[Path, typer.Argument(help="A YAML file such as finetune/configs/tiny.yaml, learning from the world.")],
    seeds: Annotated[int, typer.Option(min=1, help="How often each variant is trained.")] = 3,
    rows: Annotated[int, typer.Option(min=1, help="Questions that a stage learns from.")] = 8000,
    limit: Annotated[int, typer.Option(min=1, help="Test questions asked of each.")] = 420,
    profile: Annotated[str, typer.Option(help="Who captions and selects, a name or a TOML file.")] = "tiny",
    output: Annotated[Path | None, typer.Option(help="Folder of trainings and runs, else beside the config's output.")] = None,
) -> None:
    """Train and ask the reasoner with and without each part of the method; prints a table. The same command goes on."""
    from rich.console import Console

    from espresso import profiles
    from finetune.config import LoraConfig, read
    from finetune.lora.ablate import ablate as run
    from finetune.lora.ablate import table

    settings = read(config, LoraConfig)
    found = run(
        settings,
        profiles.load(profile),
        seeds=seeds,
        rows=rows,
        limit=limit,
        folder=output or settings.output.with_name(f"{settings.output.name}-ablation"),
        on_progress=Console(stderr=True).print,
    )
    typer.echo(table(found))


@app.command()
def tiny(
    config: Annotated[Path, typer.Argument(help="A YAML file such as finetune/configs/tiny-vlm.yaml.")],
    batches: Annotated[int | None, typer.Option(help="How many batches to learn from, instead of the config's.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the finished model, instead of the config's.")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="Folder of the checkpoints, instead of the config's.")] = None,
) -> None:
    """Train one of the embedded models from scratch; the same command goes on where an interrupted run stopped."""
    from finetune.config import read
    from finetune.tiny.config import TinyConfig

    settings = read(config, TinyConfig, batches=batches, output=output, checkpoints=checkpoints)
    from finetune.tiny.train import train  # after the config is known to be good: this import takes seconds

    typer.echo(f"{train(settings)}: trained on {settings.batches} batches")
