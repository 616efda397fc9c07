"""What each part of the two-stage training is worth: one base, trained and asked in other ways, on the same test questions.

Every variant takes as many optimizer steps as both stages together, so that none wins by having learnt longer, and begins from
the same base with the same settings; only what its rows hold differs. `espresso finetune ablate` writes the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from espresso.errors import DataError
from espresso.models.hub import fetch
from espresso.profiles import LocalRole, Profile
from eval import run as evaluation
from eval.log.run_folder import samples_in
from eval.metrics import Metrics, Sample, metrics
from eval.sample import Strategy
from finetune.config import Evidence, LoraConfig, World
from finetune.lora.collate import StageName
from finetune.lora.stages import finetune
from finetune.provenance import Lineage

UNIFORM = 16
"""Frames of the variants without a selector, as many as the paper's baselines see."""


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    folder: its name on disk. learns: the second stage's `evidence`; None for the base as it is. uniform: evenly spread frames
    instead of core frames, in training and when asked.
    """

    folder: str
    title: str
    learns: Evidence | None
    uniform: bool = False

    @property
    def strategy(self) -> Strategy:
        """How it is asked."""
        return "uniform" if self.uniform else "selector"

    @property
    def two_stages(self) -> bool:
        """Whether a first stage comes before it."""
        return self.learns in ("truth", "predicted", "mix")


VARIANTS = (
    Variant("base", "no fine-tuning", None),
    Variant("answer", "answer only", "none"),
    Variant("joint", "evidence and answer in one stage", "joint"),
    Variant("truth", "two stages, the second on true evidence", "truth"),
    Variant("predicted", "two stages, the second on predicted evidence", "predicted"),
    Variant("mix", "two stages, the second on half of each", "mix"),
    Variant("uniform-base", f"{UNIFORM} uniform frames: no fine-tuning", None, uniform=True),
    Variant("uniform-answer", f"{UNIFORM} uniform frames: answer only", "none", uniform=True),
    Variant("uniform-mix", f"{UNIFORM} uniform frames: two stages, the second on half of each", "mix", uniform=True),
)


@dataclass(frozen=True)
class Measured:
    """A variant's numbers. seeds: accuracy of each training; metrics: of all their answers, as one run's."""

    variant: Variant
    seeds: tuple[float, ...]
    metrics: Metrics


def ablate(
    config: LoraConfig,
    profile: Profile,
    *,
    seeds: int,
    rows: int,
    limit: int,
    folder: Path,
    variants: Sequence[Variant] = VARIANTS,
    on_progress: Callable[[str], None] = lambda doing: None,
) -> list[Measured]:
    """Train and ask every variant once a seed; what is done already in `folder` is not done again.

    config: its settings, its world's stories; its held-out rows are left out, the test split measures. profile: captioner,
    selector and habits; its reasoner is the config's model. rows: questions a stage learns from. limit: test questions.
    Raises DataError for a config that learns from anything but the world, and what training and asking raise.
    """
    if len(config.data) != 1 or not isinstance(config.data[0], World):
        raise DataError("an ablation learns from the world alone, whose truth it is measured on. Give a config with that data.")
    found = []
    for variant in variants:
        samples = []
        for seed in range(seeds if variant.learns else 1):
            on_progress(f"{variant.title}, seed {seed}")
            trained = _trained(config, variant, seed, rows, folder)
            samples.append(_asked(variant, trained, profile, config, limit, folder / f"{variant.folder}-{seed}" / "run"))
        accuracies = tuple(fmean(sample.scores.correct for sample in answered) for answered in samples)
        found.append(Measured(variant, accuracies, metrics([sample for answered in samples for sample in answered])))
    return found


def settings(config: LoraConfig, variant: Variant, seed: int, rows: int, folder: Path) -> LoraConfig:
    """The config of one training: every row is learnt from once, whatever the config's epochs.

    A single stage has the first stage's learning rate, being the first, and the rows of two. The first stage is shared by all
    variants that go on from it.
    """
    learnt = {"count": 2 * rows if variant.learns == "none" else rows, "uniform": UNIFORM if variant.uniform else None}
    answer: dict[str, object]
    if variant.two_stages:
        answer = {"first": folder / f"{'uniform-' if variant.uniform else ''}first-{seed}" / "evidence"}
    else:
        answer = {"learning_rate": config.evidence.learning_rate}
    return config.model_copy(
        update={
            "output": folder / f"{variant.folder}-{seed}",
            "data": (config.data[0].model_copy(update=learnt),),
            "held_out": (),
            "seed": seed,
            "evidence": config.evidence.model_copy(update={"epochs": 1.0}),
            "answer": config.answer.model_copy(update={"evidence": variant.learns, "epochs": 1.0, **answer}),
        }
    )


def _trained(config: LoraConfig, variant: Variant, seed: int, rows: int, folder: Path) -> dict[str, str]:
    """Train what is not trained yet; returns the adapters by stage."""
    if variant.learns is None:
        return {}
    ours = settings(config, variant, seed, rows, folder)
    if ours.answer.first:
        shared = ours.model_copy(update={"output": ours.answer.first.parent, "answer": config.answer})
        return {"evidence": _once(shared, "evidence"), "answer": _once(ours, "answer")}
    adapter = _once(ours, "answer")
    return {"answer": adapter} | ({"evidence": adapter} if variant.learns == "joint" else {})


def _once(config: LoraConfig, stage: StageName) -> str:
    """Train a stage unless it is there, trained the same way. Raises DataError where another is in its place."""
    out = config.output / stage
    record = out / "lineage.json"
    if not record.is_file():
        finetune(config, stage)
    elif Lineage.model_validate_json(record.read_bytes()).config != config:
        raise DataError(f"{out}: trained with other settings. Give another --output, or remove the folder.")
    return str(out)


def _asked(
    variant: Variant, adapters: dict[str, str], profile: Profile, config: LoraConfig, limit: int, folder: Path
) -> list[Sample]:
    reasoner = LocalRole(backend="transformers", model=fetch(config.model), adapters=adapters)
    asked = profile.model_copy(update={"reasoner": reasoner, "direct": variant.learns == "none"})
    evaluation.run("world", limit=limit, strategy=variant.strategy, profile=asked, out=folder)
    return samples_in(folder)


def table(found: Sequence[Measured]) -> str:
    """The table as Markdown."""
    head = "| trained and asked as | accuracy (95 % interval) | each seed | frames | visual tokens | true facts in evidence |"
    return "\n".join([head, "|---|---|---|---|---|---|", *map(_line, found)])


def _line(each: Measured) -> str:
    numbers = {name: value for name, value in each.metrics.items() if value is not None}
    share = f"{numbers['accuracy']:.1%} ({numbers['accuracy_low']:.1%} to {numbers['accuracy_high']:.1%})"
    seeds = ", ".join(f"{accuracy:.1%}" for accuracy in each.seeds)
    facts = f"{numbers['evidence_precision']:.1%}" if "evidence_precision" in numbers else ""
    return f"| {each.variant.title} | {share} | {seeds} | {numbers['frames']:.1f} | {numbers['visual_tokens']:.0f} | {facts} |"
