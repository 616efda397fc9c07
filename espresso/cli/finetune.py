"""`espresso finetune`: train models from a configuration file."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from espresso.options import EvidenceMode

if TYPE_CHECKING:
    from espresso.datasets import LoadedExamples
    from finetune.lora.collate import StageName
    from finetune.lora.config import FinetuneConfig

SHOWN_BAD_ROWS = 10
"""Number of rows that are left out to list; all are counted."""

Steps = Annotated[int | None, typer.Option(min=1, help="Number of optimizer steps, instead of the config's epochs.")]
Output = Annotated[Path | None, typer.Option(help="Folder for both adapters, instead of the config's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]

app = typer.Typer(no_args_is_help=True, help="Train models from a config file.")


@app.callback()
def finetune() -> None:
    """Train models from a config file."""


@app.command()
def places(
    config: Annotated[Path, typer.Argument(help="A YAML file such as finetune/configs/lora/tiny-puzzles.yaml.")],
    steps: Steps = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Teach the vision tower to read puzzles, before the first stage. Run it again to resume."""
    from finetune.config import read_config
    from finetune.lora.config import FinetuneConfig
    from finetune.lora.places import train_places

    settings = read_config(config, FinetuneConfig, output=output)
    with redirect_stdout(sys.stderr):
        result = train_places(settings, steps=steps)
    read = ", ".join(f"{share:.1%} of {what}" for what, share in result.after.items())
    line = f"{settings.output / 'places'}: {result.rows} pictures, {result.steps} steps, reads {read} in held-out pictures"
    _print_once(line, result.model_dump_json(indent=2) if as_json else None)


def _print_once(line: str, document: str | None = None) -> None:
    """Print the result of a training in a line or as JSON; of several processes, the first does."""
    from espresso.cli import show

    if os.environ.get("RANK", "0") != "0":
        return
    if document:
        show.print_json(document)
    else:
        typer.echo(line)


@app.command()
def evidence(
    config: Annotated[Path, typer.Argument(help="A YAML file such as finetune/configs/lora/tiny.yaml.")],
    steps: Steps = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Train the first stage: core frames and question -> evidence. Run it again to resume.

    With a section `places`, it continues from that stage's adapter.
    """
    from finetune.config import read_config
    from finetune.lora.config import FinetuneConfig

    _train(read_config(config, FinetuneConfig, output=output), "evidence", steps, as_json)


@app.command()
def answer(
    config: Annotated[Path, typer.Argument(help="The config of the first stage.")],
    mode: Annotated[
        EvidenceMode | None, typer.Option("--evidence", help="Evidence in the prompts, instead of the config's.")
    ] = None,
    steps: Steps = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Train the second stage: frames, question and evidence -> answer. Run it again to resume.

    It continues from the first stage's adapter.
    """
    from finetune.config import read_config
    from finetune.lora.config import FinetuneConfig

    settings = read_config(config, FinetuneConfig, output=output, **{"answer.evidence": mode})
    _train(settings, "answer", steps, as_json)


@app.command()
def ground(
    config: Annotated[Path, typer.Argument(help="A YAML file with data of the world, as finetune/configs/lora/tiny.yaml.")],
    steps: Steps = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Train an adapter that finds boxes, for `espresso annotate`: a frame and labels -> boxes."""
    from finetune.config import read_config
    from finetune.lora.config import FinetuneConfig

    _train(read_config(config, FinetuneConfig, output=output), "ground", steps, as_json)


def _train(config: FinetuneConfig, stage: StageName, steps: int | None, as_json: bool) -> None:
    """Train a stage; report left-out rows and the trainer's log on stderr, the result on stdout."""
    from espresso.cli import show
    from finetune.lora.stages import train_stage

    console = show.console(stderr=True)

    def report(train_data: LoadedExamples, held_out: LoadedExamples) -> None:
        lines = [*train_data.notes, *held_out.notes]
        for skipped, data in (("skipped", train_data), ("skipped of the held-out data", held_out)):
            lines += [f"{skipped}: {row}" for row in data.bad[:SHOWN_BAD_ROWS]]
            if data.bad:
                lines.append(f"{skipped}: {len(data.bad)} of {len(data.bad) + len(data.examples)} rows")
        for line in lines:
            console.print(line, soft_wrap=True)

    with redirect_stdout(sys.stderr):
        provenance, _ = train_stage(config, stage, steps=steps, on_data=report)
    held_out = ""
    if provenance.before:
        held_out = f", held-out loss {provenance.before['loss']:.3f} -> {provenance.after['loss']:.3f}"
    line = f"{config.output / stage}: {provenance.rows} rows, {provenance.bad} skipped, {provenance.steps} steps{held_out}"
    _print_once(line, provenance.model_dump_json(indent=2) if as_json else None)


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="The config that both stages were trained with.")],
    server: Annotated[str, typer.Option(help="URL of a server with both adapters, such as http://localhost:8000/v1.")],
    model: Annotated[str, typer.Option(help="Name of the base model on the server.")],
    limit: Annotated[int, typer.Option(min=1, help="Number of held-out questions.")] = 100,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Compare the adapters of a vLLM server with the trained ones."""
    import json

    from finetune.config import read_config
    from finetune.lora.config import FinetuneConfig
    from finetune.lora.verify_served import verify_served

    results = verify_served(read_config(config, FinetuneConfig, output=output), server, model, limit)
    if as_json:
        typer.echo(json.dumps([result.model_dump() for result in results]))
        return
    for result in results:
        typer.echo(
            f"{result.stage}: {result.same:.1%} of {result.n} replies equal those of the trained adapter; "
            f"the served adapter changes {result.changed:.1%} of the base model's replies"
        )


@app.command()
def ablate(
    config: Annotated[Path, typer.Argument(help="A YAML file with data of the world, as finetune/configs/lora/tiny.yaml.")],
    seeds: Annotated[int, typer.Option(min=1, help="Number of trainings per variant.")] = 3,
    rows: Annotated[int, typer.Option(min=1, help="Training questions per stage.")] = 8000,
    limit: Annotated[int, typer.Option(min=1, help="Number of test questions.")] = 420,
    profile: Annotated[str, typer.Option(help="Profile of the captioner and the selector: a name or a TOML file.")] = "tiny",
    output: Annotated[
        Path | None, typer.Option(help="Folder for trainings and runs. Default: beside the config's output.")
    ] = None,
) -> None:
    """Train and evaluate the reasoner in several ways and print a table. Run it again to resume."""
    from espresso import profiles
    from espresso.cli import show
    from finetune.config import read_config
    from finetune.lora import ablate as ablation
    from finetune.lora.config import FinetuneConfig

    settings = read_config(config, FinetuneConfig)
    with redirect_stdout(sys.stderr):  # the trainer's log
        results = ablation.ablate(
            settings,
            profiles.load(profile),
            seeds=seeds,
            rows=rows,
            limit=limit,
            folder=output or settings.output.with_name(f"{settings.output.name}-ablation"),
            on_progress=show.console(stderr=True).print,
        )
    typer.echo(ablation.table(results))


@app.command()
def tiny(
    config: Annotated[Path, typer.Argument(help="A YAML file such as finetune/configs/tiny/vlm.yaml.")],
    batches: Annotated[int | None, typer.Option(help="Number of training batches, instead of the config's.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the model, instead of the config's.")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="Folder for the checkpoints, instead of the config's.")] = None,
) -> None:
    """Train one of the embedded models from scratch. Run it again to resume."""
    from finetune.config import read_config
    from finetune.tiny.config import TinyConfig

    settings = read_config(config, TinyConfig, batches=batches, output=output, checkpoints=checkpoints)
    from finetune.tiny.train import train  # takes seconds to import; report an invalid config first

    _print_once(f"{train(settings)}: trained on {settings.batches} batches")


@app.command()
def selector(
    config: Annotated[Path, typer.Argument(help="A YAML file such as finetune/configs/selector/nextgqa.yaml.")],
    data: Annotated[Path | None, typer.Option(help="Folder of NExT-GQA with captions, instead of the config's.")] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Train and measure in so many folds by video, instead of training on everything.")
    ] = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Train a selector that ranks captions of real videos, or measure its training in folds."""
    import asyncio
    import json

    from espresso.cli import show
    from finetune.config import read_config
    from finetune.selector.config import SelectorConfig

    settings = read_config(config, SelectorConfig, data=data, output=output)
    from finetune.install import check_output
    from finetune.selector.cross_validate import cross_validate
    from finetune.selector.train import fit, load_examples, save

    check_output(settings.output)
    with show.progress(lambda progress: "") as on_progress:

        def report(doing: str, done: int, total: int) -> None:
            on_progress(show.Count(doing, done, total))

        examples, loaded = asyncio.run(load_examples(settings, report))
        if folds:
            rows = cross_validate(examples, settings, folds, report)
        else:
            save(fit(examples, settings, report), settings)
    console = show.console(stderr=True)
    for row in loaded.bad[:SHOWN_BAD_ROWS]:
        console.print(f"skipped: {row}", soft_wrap=True)
    if loaded.bad:
        console.print(f"skipped: {len(loaded.bad)} of {len(loaded.bad) + len(examples)} rows", soft_wrap=True)
    if folds:
        from eval.selection.report import markdown

        typer.echo(json.dumps([row.model_dump() for row in rows]) if as_json else markdown(rows))
    elif as_json:
        typer.echo(json.dumps({"folder": str(settings.output), "questions": len(examples), "bad": len(loaded.bad)}))
    else:
        typer.echo(f"{settings.output}: trained on {len(examples)} questions, {len(loaded.bad)} rows skipped")


@app.command()
def install(
    folder: Annotated[Path, typer.Argument(help="A trained model or adapter, such as checkpoints/tiny-vlm/model.")],
    name: Annotated[str, typer.Argument(help="Its folder in the profile: vlm, selector, judge, evidence or answer in tiny.")],
    profile: Annotated[str, typer.Option(help="Profile to install in: a name or a TOML file.")] = "tiny",
    force: Annotated[bool, typer.Option("--force", help="Install even if the profile's adapters then fit no longer.")] = False,
) -> None:
    """Replace a model or adapter of a profile by a trained one."""
    from espresso import profiles
    from finetune import install as installation

    target = installation.install(folder, name, profiles.load(profile), force=force)
    typer.echo(f"{folder} is installed in {target}. Update its README.md.")


@app.command()
def fusion(
    stage: Annotated[
        Literal["pretrain", "tsp", "pairs", "puzzles"],
        typer.Argument(
            help="pretrain: captioned images. tsp: pairs mined from them. pairs: pairs of a dataset. puzzles: SMART-101."
        ),
    ],
    config: Annotated[Path, typer.Argument(help="A YAML file such as finetune/configs/fusion/raiv.yaml.")],
    steps: Steps = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the results of all stages, instead of the config's.")] = None,
) -> None:
    """Train the classifier of statements about two visuals, or that of puzzles.

    Run it again to resume.
    """
    from finetune.config import read_config
    from finetune.fusion.config import FusionTraining

    settings = read_config(config, FusionTraining, output=output)
    from finetune.fusion.train import train  # takes seconds to import; report an invalid config first

    with redirect_stdout(sys.stderr):  # the trainer's log
        lineage = train(settings, stage, steps=steps)
    _print_once(f"{settings.output / stage}: {lineage.rows:,} rows, {lineage.steps} steps, loss {lineage.loss:.3f} at the end")
