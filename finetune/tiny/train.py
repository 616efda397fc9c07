"""Train one tiny model from scratch on the world's train split: `espresso finetune tiny CONFIG`.

Transformers' Trainer does the loop, checkpoints and resuming (run the same command again); the batches are `finetune.tiny.data`,
the forward pass `finetune.tiny.forward`. The result is a folder that transformers and vLLM load: config, safetensors, tokenizer.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sized
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from finetune.tiny import build, forward
from finetune.tiny.config import TinyConfig
from finetune.tiny.data import Batch, SelectorBatches, TinyBatches
from finetune.tiny.judgements import JudgeBatches

_BATCHES = {"vlm": TinyBatches, "captioner": TinyBatches, "selector": SelectorBatches, "judge": JudgeBatches}


class TinyTrainer(Trainer):
    """A Trainer whose dataset items are whole batches."""

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        """Batches in their own order: the curriculum is in the dataset."""
        return SequentialSampler(cast(Sized, self.train_dataset))


def _single(items: list[Batch]) -> Batch:
    return items[0]


def train(config: TinyConfig) -> Path:
    """Train, or go on where the last checkpoint stopped; returns the folder with the finished model."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    processor = build.processor(config)
    model = build.build(config, processor.tokenizer)
    if config.start:
        build.inherit(model, processor.tokenizer, config.start)
    if config.tower:
        model.model.visual = type(model).from_pretrained(config.tower).model.visual.requires_grad_(False)
    model.set_attn_implementation("eager")  # its backward is faster than SDPA's on a CPU at these lengths
    batches: Dataset[Batch] = _BATCHES[config.role](config, processor.tokenizer)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    steps = config.batches // processes
    trainer = TinyTrainer(
        forward.Learner(model, prompt_weight=config.prompt_weight),
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
            use_cpu=not torch.cuda.is_available(),
            ddp_find_unused_parameters=processes > 1,  # a batch of text uses no vision tower
            seed=config.seed,
        ),
        data_collator=_single,
        train_dataset=batches,
    )
    last = get_last_checkpoint(str(config.checkpoints)) if config.checkpoints.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    if trainer.is_world_process_zero():
        save(config, model, processor)
    return config.output


def save(config: TinyConfig, model: PreTrainedModel, processor: Any) -> None:
    """Write model, tokenizer and (for the one that sees) image processor to the output folder, replacing what was there."""
    parts = config.output.with_name(config.output.name + ".part")
    shutil.rmtree(parts, ignore_errors=True)
    model.save_pretrained(parts)
    (processor if config.role in build.SEE else processor.tokenizer).save_pretrained(parts)
    for card in config.output.glob("README.md"):
        shutil.copy(card, parts)
    shutil.rmtree(config.output, ignore_errors=True)
    parts.rename(config.output)
