"""Ablation: train one base model in several ways and evaluate all on the same test questions.

All variants start from the same base model with the same settings and take as many optimizer steps
as both stages together, so that only the content of their training rows differs. `espresso finetune
ablate CONFIG` prints the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from espresso.errors import DataError
from espresso.models.hub import fetch
from espresso.options import UNIFORM_FRAMES, EvalStrategy, EvidenceMode
from espresso.profiles import LocalRole, Profile
from eval import run as evaluation
from eval.metrics import Metrics, metrics
from eval.run_folder import read_samples
from eval.sample import Sample
from eval.stats import mean_interval
from finetune.lora.collate import StageName
from finetune.lora.config import FinetuneConfig, World
from finetune.lora.stages import train_stage
from finetune.provenance import read_provenance


@dataclass(frozen=True)
class Variant:
    """One way to train and evaluate the reasoner; a row of the table."""

    folder: str
    """Name of its folders on disk, to which the seed is appended."""
    title: str
    """Name in the table."""
    evidence: EvidenceMode | None
    """The second stage's `evidence`; None evaluates the base model without training."""
    uniform: bool = False
    """Whether evenly spaced frames replace core frames, in training and in evaluation."""

    @property
    def strategy(self) -> EvalStrategy:
        """Strategy of its evaluation."""
        return "uniform" if self.uniform else "selector"

    @property
    def has_first_stage(self) -> bool:
        """Whether the training continues from a first stage's adapter."""
        return self.evidence in ("truth", "predicted", "mix")


VARIANTS = (
    Variant("base", "no fine-tuning", None),
    Variant("answer", "answer only", "none"),
    Variant("joint", "evidence and answer in one stage", "joint"),
    Variant("truth", "two stages, the second on true evidence", "truth"),
    Variant("predicted", "two stages, the second on predicted evidence", "predicted"),
    Variant("mix", "two stages, the second on half of each", "mix"),
    Variant("uniform-base", f"{UNIFORM_FRAMES} uniform frames: no fine-tuning", None, uniform=True),
    Variant("uniform-answer", f"{UNIFORM_FRAMES} uniform frames: answer only", "none", uniform=True),
    Variant("uniform-mix", f"{UNIFORM_FRAMES} uniform frames: two stages, the second on half of each", "mix", uniform=True),
)


@dataclass(frozen=True)
class VariantResult:
    """The results of one variant."""

    variant: Variant
    seeds: tuple[float, ...]
    """Accuracy of each training."""
    metrics: Metrics
    """Metrics over the answers of all trainings."""


def ablate(
    config: FinetuneConfig,
    profile: Profile,
    *,
    seeds: int,
    rows: int,
    limit: int,
    folder: Path,
    variants: Sequence[Variant] = VARIANTS,
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[VariantResult]:
    """Train and evaluate every variant with every seed; reuse what is complete in `folder`.

    Args:
        config: base model, settings and data. The data must be the world alone; held-out data is
            ignored, because the results are measured on the test split.
        profile: the captioner, the selector and their settings. Its reasoner is replaced by the
            trained model.
        seeds: number of trainings per variant.
        rows: training questions per stage.
        limit: number of test questions.
        folder: folder for trainings and runs.
        variants: the variants to compare.
        on_progress: called with a description of each training before it starts.

    Raises:
        DataError: the data is not the world alone, or `folder` contains trainings with other
            settings.
        ModelError: a model cannot be loaded.
    """
    if not all(isinstance(source, World) for source in config.data):
        raise DataError("the ablation needs ground truth from the world. Use a config with `format: world` as its only data.")
    results = []
    for variant in variants:
        runs = []
        for seed in range(seeds if variant.evidence else 1):
            on_progress(f"{variant.title}, seed {seed}")
            adapters = _train(config, variant, seed, rows, folder)
            runs.append(_evaluate(variant, adapters, profile, config, limit, folder / f"{variant.folder}-{seed}" / "run"))
        accuracies = tuple(fmean(sample.scores.correct for sample in samples) for samples in runs)
        results.append(VariantResult(variant, accuracies, metrics([sample for samples in runs for sample in samples])))
    return results


def variant_config(config: FinetuneConfig, variant: Variant, seed: int, rows: int, folder: Path) -> FinetuneConfig:
    """Return the configuration of one training.

    Every row is used once, regardless of the configuration's epochs. A single stage uses the first
    stage's learning rate and twice the rows. Variants with two stages share one first stage per
    seed.
    """
    data = {
        "count": 2 * rows if variant.evidence == "none" else rows,
        "uniform": UNIFORM_FRAMES if variant.uniform else None,
    }
    answer: dict[str, object] = {"evidence": variant.evidence, "epochs": 1.0, "without_frames": 0.0}
    if variant.has_first_stage:
        answer["first"] = folder / f"{'uniform-' if variant.uniform else ''}first-{seed}" / "evidence"
    else:
        answer["learning_rate"] = config.evidence.learning_rate
    return config.model_copy(
        update={
            "output": folder / f"{variant.folder}-{seed}",
            "data": (config.data[0].model_copy(update=data),),  # all tasks; further sources repeat some
            "held_out": (),
            "seed": seed,
            "evidence": config.evidence.model_copy(update={"epochs": 1.0}),
            "answer": config.answer.model_copy(update=answer),
        }
    )


def _train(config: FinetuneConfig, variant: Variant, seed: int, rows: int, folder: Path) -> dict[str, str]:
    """Train the stages of a variant that are not trained yet; return the adapters by stage."""
    if variant.evidence is None:
        return {}
    own = variant_config(config, variant, seed, rows, folder)
    if own.answer.first:
        shared = own.model_copy(update={"output": own.answer.first.parent, "answer": config.answer})
        return {"evidence": _train_once(shared, "evidence"), "answer": _train_once(own, "answer")}
    adapter = _train_once(own, "answer")
    return {"answer": adapter} | ({"evidence": adapter} if variant.evidence == "joint" else {})


def _train_once(config: FinetuneConfig, stage: StageName) -> str:
    """Train a stage unless its adapter exists; refuse an adapter with other settings."""
    out = config.output / stage
    provenance = read_provenance(out)
    if provenance is None:
        train_stage(config, stage)
    elif provenance.config != config:
        raise DataError(f"{out}: trained with other settings. Choose another --output or remove the folder.")
    return str(out)


def _evaluate(
    variant: Variant, adapters: dict[str, str], profile: Profile, config: FinetuneConfig, limit: int, folder: Path
) -> list[Sample]:
    """Answer the test questions with the trained reasoner and return the scored samples."""
    reasoner = LocalRole(backend="transformers", model=fetch(config.model), adapters=adapters)
    trained = profile.model_copy(update={"reasoner": reasoner, "direct": variant.evidence == "none"})
    evaluation.run("world", limit=limit, strategy=variant.strategy, profile=trained, out=folder)
    return read_samples(folder)


def table(results: Sequence[VariantResult]) -> str:
    """Format the results as a Markdown table.

    The first interval is for other questions about other clips, by the pooled answers of all seeds;
    the second is for other seeds (Student's t), with the same questions.
    """
    head = (
        "| trained and asked as | accuracy (95 %, questions) | mean of seeds (95 %, seeds) | each seed "
        "| frames | visual tokens | true facts in evidence |"
    )
    return "\n".join([head, "|---|---|---|---|---|---|---|", *map(_table_row, results)])


def _table_row(result: VariantResult) -> str:
    values = result.metrics
    accuracy = f"{values.accuracy:.1%} ({values.accuracy_low:.1%} to {values.accuracy_high:.1%})"
    seeds = ", ".join(f"{accuracy:.1%}" for accuracy in result.seeds)
    over_seeds = ""
    if len(result.seeds) > 1:
        low, high = mean_interval(result.seeds, range(len(result.seeds)), within=(0, 1))
        over_seeds = f"{fmean(result.seeds):.1%} ({low:.1%} to {high:.1%})"
    facts = "" if values.evidence_precision is None else f"{values.evidence_precision:.1%}"
    frames = "" if values.frames is None else f"{values.frames:.1f}"
    tokens = "" if values.visual_tokens is None else f"{values.visual_tokens:.0f}"
    return f"| {result.variant.title} | {accuracy} | {over_seeds} | {seeds} | {frames} | {tokens} | {facts} |"
