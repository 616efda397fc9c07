"""`espresso finetune`: train models."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Train models from a config file.")


@app.callback()
def finetune() -> None:
    """Train models from a config file."""


@app.command()
def tiny(
    config: Annotated[Path, typer.Argument(help="A YAML file such as finetune/configs/tiny-vlm.yaml.")],
    batches: Annotated[int | None, typer.Option(help="How many batches to learn from, instead of the config's.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the finished model, instead of the config's.")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="Folder of the checkpoints, instead of the config's.")] = None,
) -> None:
    """Train one of the embedded models from scratch; the same command goes on where an interrupted run stopped."""
    from finetune.tiny.config import load

    settings = load(config, batches=batches, output=output, checkpoints=checkpoints)
    from finetune.tiny.train import train  # after the config is known to be good: this import takes seconds

    typer.echo(f"{train(settings)}: trained on {settings.batches} batches")
