"""Train a stage of the fusion classifier with transformers' Trainer.

The loop, checkpoints, resuming and multi-process training are the Trainer's; run the same command
again to resume. The result is a folder with the model, its processor and `lineage.json`.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch.utils.data import Dataset
from transformers import PreTrainedModel, TrainingArguments, set_seed

from espresso.errors import DataError
from espresso.files import replace_folder, write_atomic
from espresso.fusion.processor import FusionProcessor
from espresso.profiles.weights import PROVENANCE_FILE, weights_digest
from espresso.schema import Record
from finetune.checkpoints import CompleteCheckpoints, claim_checkpoints, latest_checkpoint, writing
from finetune.frames import frame_reader
from finetune.fusion import data
from finetune.fusion.build import build_classifier, build_pretraining, build_processor, build_puzzles
from finetune.fusion.config import FusionTraining, PretrainConfig, PuzzlePictures, PuzzlesConfig, Situations, StageConfig
from finetune.fusion.pretraining import CaptionBatches, FusionForPretraining
from finetune.fusion.puzzle_pretraining import FusionForPuzzlePretraining, PuzzleBatches
from finetune.fusion.puzzles import Features, PuzzleCollator, answers, features_of, load_rows
from finetune.fusion.rows import MinedBatches, RowCollator, hidden_sides, reasons, statements
from finetune.install import check_output
from finetune.precision import attention, mixed_precision
from finetune.provenance import package_versions
from finetune.puzzle_pictures import pictures

Stage = Literal["pretrain", "tsp", "pairs", "puzzles"]
STAGES: tuple[Stage, ...] = ("pretrain", "tsp", "pairs", "puzzles")


class TrainingModel(torch.nn.Module):
    """A model wrapped for the Trainer, which then writes and reads its weights as they are.

    Of a `PreTrainedModel`, transformers 5 writes some weights under other names (those of a ViT)
    and does not find them again when a training resumes.
    """

    accepts_loss_kwargs = False  # read by the Trainer: the loss is a mean over the rows of a batch

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, **batch: torch.Tensor) -> Any:
        """Return the output of the model for a batch."""
        return self.model(**batch)


@dataclass(frozen=True)
class _Training:
    """What a stage trains on."""

    model: PreTrainedModel
    dataset: Dataset[Any]
    collate: Any
    items: int
    """Items of the dataset per step and process."""
    steps: int
    rows: int


class Lineage(Record):
    """How a classifier was trained: `lineage.json` in its folder."""

    stage: Stage

    start: str | None
    """Digest of the weights that it started from; None for new ones."""

    rows: int
    """Images, captioned visuals, rows of pairs or puzzles that it was trained on."""

    steps: int
    """Optimizer steps."""

    loss: float
    """Mean training loss of the last steps that were logged."""

    config: FusionTraining

    versions: dict[str, str] = Field(default_factory=package_versions)
    """Versions of the packages that matter."""


def train(config: FusionTraining, stage: Stage, *, steps: int | None = None) -> Lineage:
    """Train a stage, or resume it from the newest complete checkpoint.

    Args:
        config: the configuration.
        stage: one of `STAGES`. A stage starts from its `start`, from the result of the
            nearest earlier one that the configuration has, or from new weights.
        steps: number of optimizer steps, instead of the stage's epochs.

    Returns:
        How it was trained, as in `lineage.json`.

    Raises:
        DataError: the configuration does not have the stage, the stage before is not trained, the
            data cannot be read, or the output cannot be written.
    """
    settings = cast(StageConfig | None, getattr(config, stage))
    if settings is None:
        raise DataError(f"the configuration has no section {stage!r}. Add it, or train another stage.")
    out = config.output / stage
    check_output(out)
    checkpoints = config.output / f"{stage}-checkpoints"
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    start = settings.start or _start(config, stage)
    started = weights_digest(start) if start else None
    identity = {"config": config.model_dump(mode="json"), "stage": stage, "processes": processes, "start": started}
    claim_checkpoints(checkpoints, identity)
    torch.set_num_threads(config.threads)
    set_seed(config.seed)
    processor = FusionProcessor.from_pretrained(start) if start else build_processor(config.encoders)
    bf16 = mixed_precision(asked=config.bf16)
    training = _prepare(config, stage, start, processor, processes, steps)
    trainer = CompleteCheckpoints(
        TrainingModel(training.model),
        TrainingArguments(
            output_dir=str(checkpoints),
            max_steps=training.steps,
            per_device_train_batch_size=training.items,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=settings.warmup,  # a value below 1 is a share of the steps
            weight_decay=config.weight_decay,
            max_grad_norm=1.0,
            logging_steps=20,
            save_steps=config.save_every,
            save_total_limit=1,
            remove_unused_columns=False,
            report_to=[],
            bf16=bf16,
            use_cpu=not torch.cuda.is_available(),
            dataloader_num_workers=config.workers,
            dataloader_prefetch_factor=2 if config.workers else None,
            ddp_find_unused_parameters=processes > 1,  # encoders have poolers that are not used
            seed=config.seed,
        ),
        data_collator=training.collate,
        train_dataset=training.dataset,
    )
    checkpoint = latest_checkpoint(checkpoints, processes=processes, quiet=not trainer.is_world_process_zero())
    with attention(bf16=bf16):
        trainer.train(resume_from_checkpoint=checkpoint)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    lineage = Lineage(
        stage=stage,
        start=started,
        rows=training.rows,
        steps=trainer.state.global_step,
        loss=losses[-1] if losses else math.nan,
        config=config,
    )
    if trainer.is_world_process_zero():
        with writing(out, "the model"):
            part = out.with_name(f"{out.name}.part")
            model = training.model
            kept: Any = model.fusion if isinstance(model, FusionForPretraining | FusionForPuzzlePretraining) else model
            kept.save_pretrained(part)
            processor.save_pretrained(part)
            write_atomic(part / PROVENANCE_FILE, lineage.model_dump_json(indent=2) + "\n")
            replace_folder(part, out, keep=("README.md",))
    return lineage


def _start(config: FusionTraining, stage: Stage) -> Path | None:
    """Return the folder of the stage before, or None for new weights."""
    earlier = [each for each in STAGES[: STAGES.index(stage)] if getattr(config, each) is not None]
    if not earlier:
        return None
    folder = config.output / earlier[-1]
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder}: the stage {earlier[-1]!r} is not trained yet. Train it first, or remove its section.")
    return folder


def _prepare(
    config: FusionTraining, stage: Stage, start: Path | None, processor: FusionProcessor, processes: int, steps: int | None
) -> _Training:
    """Load the model, with the head of the stage, and the data."""
    reader = frame_reader(config.architecture.frames, config.frame_size)
    if stage == "pretrain":
        pretrain = config.pretrain
        assert pretrain is not None
        new = build_pretraining(config, processor)
        if isinstance(new, FusionForPuzzlePretraining):
            return _prepare_puzzle_pictures(config, pretrain, new, processor, processes, steps)
        sources = cast(tuple[Situations, ...], pretrain.data)
        images = [each for each in data.load_situations(sources) if each.visual.kind == "image"]
        steps = steps or math.ceil(pretrain.epochs * len(images) / pretrain.batch)
        batches = CaptionBatches(
            images, steps * processes, pretrain.batch // processes, pretrain.masked, config.seed, processor, reader
        )
        return _Training(new, batches, _only_item, 1, steps, len(images))
    if stage == "puzzles":
        assert config.puzzles is not None
        return _prepare_puzzles(config, config.puzzles, start, processor, processes, steps)
    model = build_classifier(config, processor, start)
    collate = RowCollator(processor, reader, hidden_sides(config.pairs.hidden) if stage == "pairs" and config.pairs else ())
    if stage == "tsp":
        tsp = config.tsp
        assert tsp is not None
        situations = data.load_situations(tsp.data)
        steps = steps or math.ceil(tsp.epochs * len(situations) / tsp.visuals)
        mined = MinedBatches(situations, tsp, steps * processes, tsp.batch // processes, config.seed, collate)
        return _Training(model, mined, _only_item, 1, steps, len(situations))
    assert config.pairs is not None
    pairs = data.load_pairs(config.pairs.data, config.seed)
    rows = (reasons if config.pairs.reasons else statements)(pairs[: 2 * math.ceil(config.pairs.share * len(pairs) / 2)])
    steps = steps or math.ceil(config.pairs.epochs * len(rows) / config.pairs.batch)
    return _Training(model, cast(Dataset[Any], rows), collate, config.pairs.batch // processes, steps, len(rows))


def _prepare_puzzle_pictures(
    config: FusionTraining,
    pretrain: PretrainConfig,
    model: FusionForPuzzlePretraining,
    processor: FusionProcessor,
    processes: int,
    steps: int | None,
) -> _Training:
    """Load pictures of puzzles to pre-train on."""
    source = cast(PuzzlePictures, pretrain.data[0])
    found = pictures("ps-train" if source.held_out else "train", source.rows)
    steps = steps or math.ceil(pretrain.epochs * len(found) / pretrain.batch)
    reader = frame_reader(config.architecture.frames, config.frame_size)
    batches = PuzzleBatches(found, steps * processes, pretrain.batch // processes, config.seed, processor, reader)
    return _Training(model, batches, _only_item, 1, steps, len(found))


def _prepare_puzzles(
    config: FusionTraining,
    puzzles: PuzzlesConfig,
    start: Path | None,
    processor: FusionProcessor,
    processes: int,
    steps: int | None,
) -> _Training:
    """Load the classifier of puzzles and its rows; frozen towers encode them now."""
    reader = frame_reader(config.architecture.frames, config.frame_size)
    rows = load_rows(puzzles.split, "train", puzzles.rows, puzzles.data)
    model = build_puzzles(config, puzzles, processor, start, answers(rows))
    features = None
    if puzzles.freeze:
        features = features_of(start, weights_digest(start), reader) if start else Features(model.fusion, processor, reader)
        for tower in ("vision", "vision_projection", "vision_norm", "text", "text_projection"):
            model.fusion.get_submodule(tower).requires_grad_(False)
    collate = PuzzleCollator(model.config, processor, reader, puzzles.hidden, features)
    collate.encode(rows)
    steps = steps or math.ceil(puzzles.epochs * len(rows) / puzzles.batch)
    return _Training(model, cast(Dataset[Any], rows), collate, puzzles.batch // processes, steps, len(rows))


def _only_item(items: list[Any]) -> Any:
    return items[0]
