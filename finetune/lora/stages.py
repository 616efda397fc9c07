"""Train one stage of a reasoner: load the data, train the adapter, record its provenance.

`espresso finetune evidence CONFIG` trains an adapter that writes evidence from core frames;
`espresso finetune answer CONFIG` continues from that adapter and learns to answer from frames and
evidence (VideoEspresso, section 4 and Table 8). `espresso finetune ground CONFIG` trains an adapter
of the base model that finds boxes, for dataset construction. Each folder holds the adapter,
`lineage.json` (see `finetune.provenance`) and `loss.png`. A server can offer all adapters of one
base model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espresso.datasets import Example, LoadedExamples
from espresso.errors import DataError
from espresso.models.hub import fetch
from espresso.profiles.weights import weights_digest
from finetune.checkpoints import LEFT_OUT, claim_checkpoints, writing
from finetune.install import check_output
from finetune.lora.collate import StageName, TrainingRow
from finetune.lora.config import DataSource, FinetuneConfig, StageConfig
from finetune.lora.examples import load
from finetune.lora.ground import grounding_examples
from finetune.provenance import Provenance, check_stage, data_digest

if TYPE_CHECKING:
    from finetune.lora.train import TrainingResult


OnData = Callable[[LoadedExamples, LoadedExamples], None]
"""Called with the training data and the held-out data before the first step; the bad rows include
those that were left out by the checks."""


def train_stage(
    config: FinetuneConfig,
    stage: StageName,
    *,
    steps: int | None = None,
    on_data: OnData = lambda _, __: None,
) -> tuple[Provenance, LoadedExamples]:
    """Train one stage; an interrupted training is resumed from its newest complete checkpoint.

    Rows that are too long or have a frame that cannot be decoded are left out before the first
    step. With several processes, each one calls this function. They need a common file system.

    Args:
        config: the configuration.
        stage: which stage.
        steps: number of optimizer steps, instead of the configuration's epochs. Only as many
            examples as needed are used.
        on_data: called by the first process before the training, to report what was left out.

    Returns:
        The adapter's provenance, and the training data that was used.

    Raises:
        DataError: the data, the first stage, the checkpoints or the output folder cannot be used.
        ModelError: the base model cannot be loaded, or the trained adapter has no effect.
    """
    out = config.output / stage
    stage_config: StageConfig | None = getattr(config, stage)
    if stage_config is None:
        raise DataError(
            f"this config has no section {stage!r}. Add one with a learning_rate, as in finetune/configs/lora/tiny.yaml."
        )
    check_output(out)
    first, start = _earlier(config, stage)
    base = fetch(config.model)
    base_digest = weights_digest(Path(base))
    for folder in {folder for folder in (first, start) if folder}:
        check_stage(folder, "places" if stage == "evidence" else "evidence", config.model, base_digest)
    # These take seconds to import; check what can fail early first.
    import torch  # noqa: PLC0415
    from accelerate import PartialState  # noqa: PLC0415

    from finetune.lora.checks import RowCheck  # noqa: PLC0415

    process = PartialState(cpu=not torch.cuda.is_available())  # without `cpu`, CPU processes do not know each other
    ranks = {"rank": process.process_index, "processes": process.num_processes}
    checkpoints = out.with_name(f"{stage}-checkpoints")
    limit = steps * config.batch if steps else None
    train_data = _load_all(config.data, config, stage, limit)
    train_data = replace(train_data, examples=train_data.examples[:limit])
    held_out = _load_all(config.held_out, config, stage)
    examples = train_data.examples + held_out.examples
    to_predict = needs_prediction(config, train_data.examples) + needs_prediction(config, held_out.examples) if first else []
    check = RowCheck(config, base, examples, **ranks)
    predicted = dict.fromkeys((example.id for example in to_predict), "")
    check.lengths(examples, lambda example: _shown(make_rows(config, stage, [example], predicted)))
    if first:
        from finetune.lora.predict import predict_evidence  # noqa: PLC0415

        to_predict = check.usable(to_predict)
        predicted = predict_evidence(config, base, first, to_predict, **ranks)
        check.lengths(to_predict, lambda example: _shown(make_rows(config, stage, [example], predicted)))
    train_data, problems = check.leave_out(train_data, checkpoints)
    held_out, _ = check.leave_out(held_out)
    rows = make_rows(config, stage, train_data.examples, predicted)
    if process.is_main_process:
        on_data(train_data, held_out)
    first_digest, rows_digest = weights_digest(first) if first else None, data_digest(rows)
    start_digest = weights_digest(start) if start and start != first else None
    digests = {"base": base_digest, "first": first_digest, "start": start_digest, "data": rows_digest}
    training = {**digests, "config": config.model_dump(mode="json")}
    recorded = {name: problem.model_dump() for name, problem in problems.items()}
    claim_checkpoints(checkpoints, {**training, "steps": steps, LEFT_OUT: recorded})
    from finetune.lora.train import train  # noqa: PLC0415

    result = train(
        config,
        stage_config,
        base,
        rows,
        make_rows(config, stage, held_out.examples, predicted),
        out,
        checkpoints,
        start=start,
        steps=steps,
    )
    provenance = Provenance(
        stage=stage,
        base=config.model,
        base_digest=base_digest,
        first_digest=first_digest,
        start_digest=start_digest,
        data_digest=rows_digest,
        rows=len(rows),
        bad=len(train_data.bad),
        unreadable=sum(not problem.too_long for problem in problems.values()),
        too_long=sum(problem.too_long for problem in problems.values()),
        steps=result.steps,
        before=result.before,
        after=result.after,
        changed=result.changed,
        merged=result.merged,
        config=config,
    )
    if process.is_main_process:
        with writing(out, "the result"):
            provenance.write(out)
            plot_loss(result, out / "loss.png", f"{stage}, {len(rows)} rows")
    return provenance, train_data


def _earlier(config: FinetuneConfig, stage: StageName) -> tuple[Path | None, Path | None]:
    """Return the folders of the first stage's adapter and of the adapter to continue from."""
    if stage == "evidence" and config.places:
        return None, config.output / "places"
    if stage == "answer" and config.answer.has_first_stage:
        first = config.answer.first or config.output / "evidence"
        return first, config.answer.start or first
    return None, config.answer.start if stage == "answer" else None


def make_rows(
    config: FinetuneConfig, stage: StageName, examples: Sequence[Example], predicted: Mapping[str, str]
) -> list[TrainingRow]:
    """Make the rows of a stage: one per example, or two for `joint`, which learns both stages.

    Args:
        config: `answer.evidence` selects the evidence in second-stage prompts.
        stage: which stage.
        examples: the examples.
        predicted: predicted evidence by example id, for the examples of `needs_prediction`.
    """
    if stage == "evidence":
        return [TrainingRow(example) for example in examples]
    if stage == "ground":
        return [TrainingRow(example, grounding=True) for example in examples]
    if config.answer.evidence == "none":
        return [TrainingRow(example, "") for example in examples]
    if config.answer.evidence == "joint":
        return [row for example in examples for row in (TrainingRow(example), TrainingRow(example, example.evidence))]
    hidden = np.random.default_rng([config.seed, 1]).random(len(examples)) < config.answer.without_frames
    return [
        TrainingRow(example, predicted.get(example.id, example.evidence), show_frames=not is_hidden)
        for example, is_hidden in zip(examples, hidden, strict=True)
    ]


def _shown(rows: Sequence[TrainingRow]) -> list[TrainingRow]:
    """Return the rows with their frames: the longest that they can be, whichever show none."""
    return [replace(row, show_frames=True) for row in rows]


def needs_prediction(config: FinetuneConfig, examples: Sequence[Example]) -> list[Example]:
    """Return the examples to train on predicted evidence; for `mix`, a random half."""
    share = {"mix": 0.5, "predicted": 1.0}.get(config.answer.evidence, 0.0)
    chosen = np.random.default_rng(config.seed).random(len(examples)) < share
    return [example for example, is_chosen in zip(examples, chosen, strict=True) if is_chosen]


def _load_all(
    sources: Iterable[DataSource], config: FinetuneConfig, stage: StageName, limit: int | None = None
) -> LoadedExamples:
    """Load all data sources for a stage and concatenate them."""
    evidence = stage == "evidence" or config.answer.evidence != "none"
    loaded = [load(source, config.seed, limit, evidence=evidence) for source in sources]
    examples = tuple(example for each in loaded for example in each.examples)
    return LoadedExamples(
        grounding_examples(examples, config.seed) if stage == "ground" else examples,
        tuple(row for each in loaded for row in each.bad),
        tuple(note for each in loaded for note in each.notes),
    )


def plot_loss(result: TrainingResult, path: Path, title: str) -> None:
    """Plot the training loss per step, and the held-out loss before and after."""
    import matplotlib  # noqa: PLC0415 - takes half a second

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(*zip(*result.history, strict=True), label="training")
    if result.before:
        axes.plot([0, result.steps], [result.before["loss"], result.after["loss"]], "o", label="held out")
    axes.set(xlabel="step", ylabel="loss (nats per token)", title=title, ylim=(0, None))
    if result.history or result.before:  # a training of a few steps has neither
        axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
