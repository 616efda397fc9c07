"""Train one tiny model from scratch on the world's train split: `espresso finetune tiny CONFIG`.

The loop, checkpoints and resuming are those of transformers' Trainer; run the same command again to
resume. The result is a folder that transformers loads, and vLLM except for the verifier's:
configuration, safetensors and tokenizer.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import CLIPModel, PreTrainedModel, TrainingArguments

from espresso.files import replace_folder
from espresso.profiles.weights import weights_digest
from finetune.checkpoints import CompleteCheckpoints, claim_checkpoints, latest_checkpoint, writing
from finetune.install import check_output
from finetune.precision import attention, mixed_precision
from finetune.tiny import build, clip, forward
from finetune.tiny.config import TinyConfig
from finetune.tiny.data import Batch, SelectorBatches, VisionBatches
from finetune.tiny.judgements import JudgeBatches
from finetune.tiny.statements import StatementBatches
from finetune.tiny.writing import WriterBatches

_BATCHES = {
    "vlm": VisionBatches,
    "captioner": VisionBatches,
    "selector": SelectorBatches,
    "judge": JudgeBatches,
    "writer": WriterBatches,
    "statements": StatementBatches,
}


class TinyTrainer(CompleteCheckpoints):
    """A Trainer over a dataset of batches."""

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        """Keep the order of the dataset, which is a curriculum."""
        return SequentialSampler(cast(Sized, self.train_dataset))


def _only_item(items: list[Batch]) -> Batch:
    return items[0]


def train(config: TinyConfig) -> Path:
    """Train a model, or resume from the newest complete checkpoint; return the folder of the model.

    Raises:
        DataError: the output folder belongs to a shipped profile or cannot be written, the
            checkpoints belong to another training, or one cannot be written.
    """
    check_output(config.output)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    others = {name: weights_digest(folder) for name, folder in (("start", config.start), ("tower", config.tower)) if folder}
    claim_checkpoints(config.checkpoints, {"config": config.model_dump(mode="json"), "processes": processes, **others})
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    trained = _verifier(config) if config.role == "verifier" else _language_model(config)
    trained.model.set_attn_implementation("eager")  # a faster backward pass than SDPA on a CPU at these lengths
    steps = config.batches // processes
    bf16 = mixed_precision(asked=config.bf16)
    trainer = TinyTrainer(
        trained.wrapped,
        TrainingArguments(
            output_dir=str(config.checkpoints),
            max_steps=steps,
            per_device_train_batch_size=1,
            learning_rate=config.learning_rate,
            lr_scheduler_type="warmup_stable_decay",
            lr_scheduler_kwargs={"num_decay_steps": steps // 4, "decay_type": "cosine"},
            warmup_steps=round(config.warmup * steps),
            weight_decay=0.05,
            adam_beta2=0.95,
            max_grad_norm=1.0,
            logging_steps=50,
            save_steps=config.save_every,
            save_total_limit=1,
            remove_unused_columns=False,
            report_to=[],
            bf16=bf16,
            use_cpu=not torch.cuda.is_available(),
            ddp_find_unused_parameters=processes > 1,  # a batch of text does not use the vision tower
            seed=config.seed,
        ),
        data_collator=_only_item,
        train_dataset=trained.batches,
    )
    checkpoint = latest_checkpoint(config.checkpoints, processes=processes, quiet=not trainer.is_world_process_zero())
    with attention(bf16=bf16):
        trainer.train(resume_from_checkpoint=checkpoint)
    if trainer.is_world_process_zero():
        with writing(config.output, "the model"):
            save(config, trained.model, trained.processor)
    return config.output


@dataclass(frozen=True)
class _Training:
    """A model to train and its batches."""

    model: PreTrainedModel
    """The model that is saved."""

    processor: Any
    """The processor or tokenizer that is saved with it."""

    wrapped: torch.nn.Module
    """The model as the Trainer gets it: it takes a batch and returns the loss."""

    batches: Dataset[Batch]


def _language_model(config: TinyConfig) -> _Training:
    """Build one of Qwen's models and its batches."""
    assert config.role != "verifier"
    processor = build.build_processor(config)
    model = build.build_model(config, processor.tokenizer)
    if config.start:
        build.load_start_weights(model, processor.tokenizer, config.start)
    if config.tower:
        model.model.visual = type(model).from_pretrained(config.tower).model.visual.requires_grad_(False)
    batches: Dataset[Batch] = _BATCHES[config.role](config, processor.tokenizer)
    saved = processor if config.role in build.VISION_ROLES else processor.tokenizer
    return _Training(model, saved, forward.TrainingModel(model, prompt_weight=config.prompt_weight), batches)


def _verifier(config: TinyConfig) -> _Training:
    """Build a CLIP and its batches."""
    processor = clip.build_processor(config)
    model = CLIPModel.from_pretrained(config.start) if config.start else clip.build_model(config, processor.tokenizer)
    return _Training(model, processor, clip.TrainingModel(model), clip.CropBatches(config, processor))


def save(config: TinyConfig, model: PreTrainedModel, processor: Any) -> None:
    """Save model and processor to the output folder; its README.md is kept."""
    part = config.output.with_name(config.output.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    processor.save_pretrained(part)
    replace_folder(part, config.output, keep=("README.md",))
