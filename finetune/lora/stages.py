"""Train one stage of a reasoner: load the data, train the adapter, record its provenance.

`espresso finetune evidence CONFIG` trains an adapter that writes evidence from core frames;
`espresso finetune answer CONFIG` continues from that adapter and learns to answer from frames and
evidence (VideoEspresso, section 4 and Table 8). Each folder holds the adapter, `lineage.json` (see
`finetune.provenance`) and `loss.png`. A server can offer both adapters of one base model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espresso.datasets import Example, LoadedExamples
from espresso.models.hub import fetch
from espresso.profiles.weights import weights_digest
from finetune.install import check_output
from finetune.lora.collate import StageName, TrainingRow
from finetune.lora.config import DataSource, FinetuneConfig
from finetune.lora.examples import load
from finetune.provenance import Provenance, check_first_stage, claim_checkpoints, data_digest

if TYPE_CHECKING:
    from finetune.lora.train import TrainingResult


def train_stage(config: FinetuneConfig, stage: StageName, *, steps: int | None = None) -> tuple[Provenance, LoadedExamples]:
    """Train one stage; an interrupted training is resumed from its last checkpoint.

    With several processes, each one calls this function. They need a common file system.

    Args:
        config: the configuration.
        stage: which stage.
        steps: number of optimizer steps, instead of the configuration's epochs. Only as many
            examples as needed are used.

    Returns:
        The adapter's provenance, and the training data as loaded.

    Raises:
        DataError: the data, the first stage, the checkpoints or the output folder cannot be used.
        ModelError: the base model cannot be loaded, or the trained adapter has no effect.
    """
    out = config.output / stage
    check_output(out)
    continues = stage == "answer" and config.answer.has_first_stage
    first = (config.answer.first or config.output / "evidence") if continues else None
    base = fetch(config.model)
    base_digest = weights_digest(Path(base))
    if first:
        check_first_stage(first, config.model, base_digest)
    # These take seconds to import; check what can fail early first.
    import torch  # noqa: PLC0415
    from accelerate import PartialState  # noqa: PLC0415

    process = PartialState(cpu=not torch.cuda.is_available())  # without `cpu`, CPU processes do not know each other
    limit = steps * config.batch if steps else None
    evidence = stage == "evidence" or config.answer.evidence != "none"
    train_data = _load_all(config.data, config.seed, limit, evidence=evidence)
    held_out = _load_all(config.held_out, config.seed, evidence=evidence)
    examples = train_data.examples[:limit]
    predicted: dict[str, str] = {}
    if first:
        from finetune.lora.predict import predict_evidence  # noqa: PLC0415

        to_predict = [*needs_prediction(config, examples), *needs_prediction(config, held_out.examples)]
        predicted = predict_evidence(config, base, first, to_predict, rank=process.process_index, processes=process.num_processes)
    rows = make_rows(config, stage, examples, predicted)
    first_digest, rows_digest = weights_digest(first) if first else None, data_digest(rows)
    checkpoints = out.with_name(f"{stage}-checkpoints")
    settings = {"config": config.model_dump(mode="json", exclude={"output"}), "steps": steps}
    claim_checkpoints(checkpoints, {"base": base_digest, "first": first_digest, "data": rows_digest, **settings})
    from finetune.lora.train import train  # noqa: PLC0415

    result = train(
        config,
        config.evidence if stage == "evidence" else config.answer,
        base,
        rows,
        make_rows(config, stage, held_out.examples, predicted),
        out,
        checkpoints,
        first=first,
        steps=steps,
    )
    provenance = Provenance(
        stage=stage,
        base=config.model,
        base_digest=base_digest,
        first_digest=first_digest,
        data_digest=rows_digest,
        rows=len(rows),
        bad=len(train_data.bad),
        steps=result.steps,
        before=result.before,
        after=result.after,
        changed=result.changed,
        merged=result.merged,
        config=config,
    )
    if process.is_main_process:
        provenance.write(out)
        plot_loss(result, out / "loss.png", f"{stage}, {len(rows)} rows")
    return provenance, train_data


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
    if config.answer.evidence == "none":
        return [TrainingRow(example, "") for example in examples]
    if config.answer.evidence == "joint":
        return [row for example in examples for row in (TrainingRow(example), TrainingRow(example, example.evidence))]
    return [TrainingRow(example, predicted.get(example.id, example.evidence)) for example in examples]


def needs_prediction(config: FinetuneConfig, examples: Sequence[Example]) -> list[Example]:
    """Return the examples to train on predicted evidence; for `mix`, a random half."""
    share = {"mix": 0.5, "predicted": 1.0}.get(config.answer.evidence, 0.0)
    chosen = np.random.default_rng(config.seed).random(len(examples)) < share
    return [example for example, is_chosen in zip(examples, chosen, strict=True) if is_chosen]


def _load_all(sources: Iterable[DataSource], seed: int, limit: int | None = None, *, evidence: bool) -> LoadedExamples:
    """Load all data sources and concatenate them."""
    loaded = [load(source, seed, limit, evidence=evidence) for source in sources]
    return LoadedExamples(
        tuple(example for each in loaded for example in each.examples),
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
