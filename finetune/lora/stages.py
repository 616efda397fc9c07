"""The two stages of a reasoner, one after the other, each an adapter that tells where it comes from.

`espresso finetune evidence CONFIG` learns to write evidence from core frames; `espresso finetune answer CONFIG` goes on from that
adapter and learns to answer from frames and evidence (VideoEspresso, section 4, Table 8). Each folder holds the adapter,
`lineage.json` (base, data, first stage, config, measurements) and `loss.png`. A server offers both beside each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espresso.models.hub import fetch
from finetune import provenance as lineage
from finetune.config import LoraConfig, Source
from finetune.lora.collate import Example, Row, StageName
from finetune.lora.examples import Loaded, load
from finetune.provenance import Lineage

if TYPE_CHECKING:
    from finetune.lora.train import Trained


def finetune(config: LoraConfig, stage: StageName, *, steps: int | None = None) -> tuple[Lineage, Loaded]:
    """Train one stage as the config says; returns its lineage and what the sources gave.

    steps: how many, of as many examples as they need, instead of the config's epochs. The same command goes on where it was
    interrupted. Raises DataError or ModelError with what is wrong and what to do.
    """
    out, first = config.output / stage, config.answer.first or config.output / "evidence"
    goes_on = stage == "answer" and config.answer.goes_on
    base = fetch(config.model)
    base_digest = lineage.digest(Path(base))
    if goes_on:
        lineage.check(first, config.model, base_digest)
    from accelerate import PartialState  # noqa: PLC0415 - torch takes seconds to import, after what can be refused at once

    needed = steps * config.batch if steps else None
    learnt, measured = _read(config.data, config.seed, needed), _read(config.held_out, config.seed)
    examples = learnt.examples[:needed]
    predicted: dict[str, str] = {}
    if goes_on:
        from finetune.lora.predict import predict  # noqa: PLC0415

        with PartialState().main_process_first():  # the others find it done
            predicted = predict(config, base, first, [*own(config, examples), *own(config, measured.examples)])
    learnt_rows = rows(config, stage, examples, predicted)
    first_digest, data_digest = lineage.digest(first) if goes_on else None, lineage.data_digest(learnt_rows)
    checkpoints = out.with_name(f"{stage}-checkpoints")
    settings = {"config": config.model_dump(mode="json", exclude={"output"}), "steps": steps}
    lineage.claim(checkpoints, {"base": base_digest, "first": first_digest, "data": data_digest, **settings})
    from finetune.lora.train import train  # noqa: PLC0415

    trained = train(
        config,
        getattr(config, stage),
        base,
        learnt_rows,
        rows(config, stage, measured.examples, predicted),
        out,
        checkpoints,
        first=first if goes_on else None,
        steps=steps,
    )
    made = Lineage(
        stage=stage,
        base=config.model,
        base_digest=base_digest,
        first_digest=first_digest,
        data_digest=data_digest,
        rows=len(learnt_rows),
        bad=len(learnt.bad),
        steps=trained.steps,
        before=trained.before,
        after=trained.after,
        changed=trained.changed,
        merged=trained.merged,
        config=config,
    )
    if PartialState().is_main_process:
        (out / "lineage.json").write_text(made.model_dump_json(indent=2) + "\n")
        curve(trained, out / "loss.png", f"{stage}, {len(learnt_rows)} rows")
    return made, learnt


def rows(config: LoraConfig, stage: StageName, examples: Sequence[Example], predicted: dict[str, str]) -> list[Row]:
    """A row an example, two where both stages are learnt at once. predicted: the first stage's words for what `own` names."""
    if stage == "evidence":
        return [Row(example) for example in examples]
    if config.answer.evidence == "none":
        return [Row(example, "") for example in examples]
    if config.answer.evidence == "joint":
        return [row for example in examples for row in (Row(example), Row(example, example.evidence))]
    return [Row(example, predicted.get(example.id, example.evidence)) for example in examples]


def own(config: LoraConfig, examples: Sequence[Example]) -> list[Example]:
    """The examples whose second stage reads the first one's own words; for `mix` half of them, drawn with the config's seed."""
    share = {"mix": 0.5, "predicted": 1.0}.get(config.answer.evidence, 0.0)
    drawn = np.random.default_rng(config.seed).random(len(examples)) < share
    return [example for example, mine in zip(examples, drawn, strict=True) if mine]


def _read(sources: Iterable[Source], seed: int, needed: int | None = None) -> Loaded:
    """Read all sources as one."""
    loaded = [load(source, seed, needed) for source in sources]
    return Loaded(
        tuple(example for each in loaded for example in each.examples),
        tuple(row for each in loaded for row in each.bad),
        tuple(note for each in loaded for note in each.notes),
    )


def curve(trained: Trained, path: Path, title: str) -> None:
    """Draw the loss over the steps, with the held-out loss before and after."""
    import matplotlib  # noqa: PLC0415 - half a second

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(*zip(*trained.history, strict=True), label="training")
    if trained.before:
        axes.plot([0, trained.steps], [trained.before["loss"], trained.after["loss"]], "o", label="held out")
    axes.set(xlabel="step", ylabel="loss (nats a token)", title=title, ylim=(0, None))
    if trained.history or trained.before:  # neither after a handful of steps
        axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
