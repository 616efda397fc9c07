"""Train a LoRA adapter with TRL's SFTTrainer and PEFT.

This module supplies the rows, their collation and order, the adapted layers, and a comparison of
the result with its base model. The loop, checkpoints, resuming and multi-process training are
TRL's. Only the language model is adapted unless the configuration asks for the vision tower too,
because vLLM ignores the other parts of an adapter.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForImageTextToText, PreTrainedModel, set_seed
from trl import SFTConfig, SFTTrainer

from espresso.errors import DataError, EspressoError, ModelError
from espresso.files import replace_folder
from espresso.models.device import model_dtype
from espresso.models.processor import ChatProcessor
from finetune.checkpoints import CompleteCheckpoints, latest_checkpoint, writing
from finetune.lora.collate import IGNORE_INDEX, ConversationCollator, TrainingRow
from finetune.lora.config import FinetuneConfig, StageConfig
from finetune.lora.grouping import SeededLengthSampler, approximate_length
from finetune.precision import attention, mixed_precision

logger = logging.getLogger(__name__)

COMPARED_ROWS = 64
"""Number of training rows with which the adapter is compared with its base model."""


@dataclass(frozen=True)
class TrainingResult:
    """Measurements of a training."""

    steps: int
    """Number of optimizer steps, including those before a resume."""
    before: dict[str, float]
    """`loss` and `token_accuracy` on the held-out rows before training; empty without held-out
    rows."""
    after: dict[str, float]
    """The same after training."""
    history: tuple[tuple[float, float], ...]
    """(step, training loss) pairs."""
    changed: float
    """Share of reply tokens that the adapter changes; see
    `compare_with_base`."""
    merged: float
    """Share of reply tokens on which adapter and merged weights agree."""


def train(
    config: FinetuneConfig,
    stage_config: StageConfig,
    base: str,
    rows: Sequence[TrainingRow],
    held_out: Sequence[TrainingRow],
    out: Path,
    checkpoints: Path,
    *,
    start: Path | None = None,
    steps: int | None = None,
) -> TrainingResult:
    """Train an adapter, or resume from the newest complete checkpoint, and save it.

    Args:
        config: the configuration.
        stage_config: the section of the configuration for this stage.
        base: folder of the base model.
        rows: training rows.
        held_out: rows to evaluate on before and after; may be empty.
        out: folder to save the adapter in.
        checkpoints: the folder for checkpoints, as `claim_checkpoints` left it.
        start: folder of an adapter to continue from. None starts a new adapter.
        steps: number of optimizer steps, instead of the stage's epochs.

    Raises:
        DataError: a row is too long, or a checkpoint or the adapter cannot be written.
        ModelError: `start` does not fit the base model, or the trained adapter has no effect.
    """

    def new_trainer() -> LoraTrainer:
        return build_trainer(config, stage_config, base, rows, held_out, checkpoints, start=start, steps=steps)

    # A trainer that has evaluated no longer synchronizes gradients between processes, so use
    # another one for this.
    before = _evaluate(new_trainer()) if held_out else {}
    trainer = new_trainer()
    checkpoint = latest_checkpoint(checkpoints, processes=trainer.args.world_size, quiet=not trainer.accelerator.is_main_process)
    try:
        with attention(bf16=trainer.args.bf16):
            trainer.train(resume_from_checkpoint=checkpoint)
    except EspressoError as error:
        raise type(error)(_without_traceback(str(error))) from error
    after = _evaluate(trainer) if held_out else {}
    with writing(out, "the adapter"):
        _save_adapter(trainer, out)
    model = trainer.accelerator.unwrap_model(trainer.model)
    changed, merged = compare_with_base(model, trainer.data_collator, rows[:COMPARED_ROWS])
    history = tuple((entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry)
    return TrainingResult(trainer.state.global_step, before, after, history, changed, merged)


def _without_traceback(message: str) -> str:
    """Return the message of an error without what a data loader process adds to it."""
    lines = message.strip().splitlines()
    return lines[-1].partition(": ")[2] if lines and "in DataLoader worker process" in lines[0] else message


class LoraTrainer(CompleteCheckpoints, SFTTrainer):
    """SFTTrainer with a given sampler of the training rows."""

    def __init__(self, *args: Any, sampler: SeededLengthSampler, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sampler = sampler

    def _get_train_sampler(self, *_: Any) -> SeededLengthSampler:
        return self.sampler


def build_trainer(
    config: FinetuneConfig,
    stage_config: StageConfig,
    base: str,
    rows: Sequence[TrainingRow],
    held_out: Sequence[TrainingRow],
    checkpoints: Path,
    *,
    start: Path | None = None,
    steps: int | None = None,
) -> LoraTrainer:
    """Build the trainer of a stage; see `train` for the arguments."""
    set_seed(config.seed)
    processor = ChatProcessor(base, vision=True)
    model = load_model(config, base, start)
    if config.places:
        reasoner: Any = model.get_base_model()
        reasoner.model.visual.requires_grad_(False)
    return LoraTrainer(
        model,
        training_arguments(config, stage_config, checkpoints, steps, model_dtype(base)),
        data_collator=ConversationCollator(processor, style=config.prompts, size=config.frame_size, max_length=config.max_length),
        train_dataset=to_dataset(rows),
        eval_dataset=to_dataset(held_out) if held_out else None,
        processing_class=processor.processor,
        sampler=SeededLengthSampler([approximate_length(row, config.frame_size) for row in rows], config.batch, config.seed),
    )


def training_arguments(
    config: FinetuneConfig, stage_config: StageConfig, checkpoints: Path, steps: int | None, dtype: torch.dtype
) -> SFTConfig:
    """Return TRL's training arguments; `dtype` is that of the base model.

    Raises:
        DataError: the batch cannot be divided among the processes.
    """
    arguments = SFTConfig(
        output_dir=str(checkpoints),
        max_steps=steps or -1,
        num_train_epochs=stage_config.epochs,
        per_device_train_batch_size=config.device_batch,
        per_device_eval_batch_size=config.device_batch,
        learning_rate=stage_config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup,  # a value below 1 is a share of the steps
        weight_decay=config.weight_decay,
        gradient_checkpointing=config.gradient_checkpointing,
        bf16=mixed_precision(asked=config.bf16) or dtype is torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        dataloader_num_workers=config.workers,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,  # the collator refuses a row that is too long
        remove_unused_columns=False,
        save_steps=config.save_every,
        save_total_limit=1,
        logging_steps=10,
        report_to=[],
        seed=config.seed,
        data_seed=config.seed,
    )
    accumulation, remainder = divmod(config.batch, config.device_batch * arguments.world_size)
    if remainder or not accumulation:
        raise DataError(
            f"a batch of {config.batch} cannot be divided among {arguments.world_size} processes with a device_batch of "
            f"{config.device_batch}. Make batch a multiple of their product."
        )
    arguments.gradient_accumulation_steps = accumulation
    return arguments


def to_dataset(rows: Sequence[Any]) -> Dataset:
    """Wrap rows in a `datasets.Dataset` of their indices; an item looks its row up, under `row`."""

    def look_up(items: dict[str, list[int]]) -> dict[str, list[Any]]:
        return {"row": [rows[index] for index in items["index"]]}

    return Dataset.from_dict({"index": range(len(rows))}).with_transform(look_up)


def load_model(config: FinetuneConfig, base: str, start: Path | None) -> PeftModel:
    """Load the base model, frozen, with a trainable adapter.

    Args:
        config: settings of a new adapter.
        base: folder of the base model.
        start: folder of an adapter to continue from. None adds a new one.

    Raises:
        ModelError: the adapter in `start` does not fit the base model.
    """
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=model_dtype(base))
    if start is None:
        adapter = LoraConfig(
            r=config.lora.rank,
            lora_alpha=config.lora.alpha,
            lora_dropout=config.lora.dropout,
            target_modules=_target_modules(model, vision=config.lora.vision),
            task_type="CAUSAL_LM",
        )
        return get_peft_model(model, adapter)
    try:
        return PeftModel.from_pretrained(model, str(start), is_trainable=True)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{start}: this adapter does not fit {base} ({reason}). Train the first stage on this base.") from error


def _target_modules(model: PreTrainedModel, *, vision: bool) -> str:
    """Return a pattern of the linear layers to adapt, and of those that embed patches."""
    decoder = model.get_decoder()
    (name,) = (name for name, module in model.named_modules() if module is decoder)
    if not vision:
        leaves = {path.rpartition(".")[2] for path, module in decoder.named_modules() if isinstance(module, nn.Linear)}
        return rf"{re.escape(name)}\..*\.({'|'.join(sorted(leaves))})"
    logger.warning("The adapter includes the vision tower and the projector; vLLM ignores these parts.")
    head = model.get_output_embeddings()
    kinds = nn.Linear, nn.Conv2d, nn.Conv3d  # the latter embed patches
    layers = (path for path, module in model.named_modules() if isinstance(module, kinds) and module is not head)
    return "|".join(re.escape(path) for path in layers)


def _save_adapter(trainer: SFTTrainer, out: Path) -> None:
    """Save the adapter without the tokenizer and the model card that TRL adds."""
    part = out.with_name(f"{out.name}.part")
    if trainer.accelerator.is_main_process:
        shutil.rmtree(part, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(part))
    if trainer.accelerator.is_main_process:
        for path in part.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif not path.name.startswith("adapter_"):
                path.unlink()
        replace_folder(part, out, keep=("README.md", "predicted-*"))


def _evaluate(trainer: SFTTrainer) -> dict[str, float]:
    metrics = trainer.evaluate()
    return {"loss": metrics["eval_loss"], "token_accuracy": metrics["eval_mean_token_accuracy"]}


def compare_with_base(model: PeftModel, collate: Any, rows: Sequence[TrainingRow]) -> tuple[float, float]:
    """Compare the most likely reply tokens with the adapter, without it, and with it merged.

    Args:
        model: base model and adapter. The adapter is merged into it at the end.
        collate: the collator of the training.
        rows: rows to compare on.

    Returns:
        The share of tokens that the adapter changes, and the share on which adapter and merged
        weights agree.

    Raises:
        ModelError: the logits with and without the adapter are identical.
    """
    model.eval()
    batches = [collate([{"row": row}]) for row in rows]
    adapted = [_reply_logits(model, batch) for batch in batches]
    with model.disable_adapter():
        base = [_reply_logits(model, batch) for batch in batches]
    if all(torch.equal(one, other) for one, other in zip(adapted, base, strict=True)):
        raise ModelError("the trained adapter changes no logits. Increase learning_rate or the number of steps.")
    merged_model = model.merge_and_unload()
    merged = [_reply_logits(merged_model, batch) for batch in batches]
    return 1 - _agreement(adapted, base), _agreement(adapted, merged)


def _reply_logits(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the logits that predict a row's reply, (tokens, vocabulary), from a batch of one."""
    device = next(model.parameters()).device
    inputs = {name: value.to(device) for name, value in batch.items() if name != "labels"}
    with torch.inference_mode():
        logits: torch.Tensor = model(**inputs, use_cache=False).logits
    return logits[0, :-1][batch["labels"][0, 1:].to(device) != IGNORE_INDEX].float().cpu()


def _agreement(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> float:
    """Return the share of tokens with the same most likely token."""
    same = torch.cat([a.argmax(-1) == b.argmax(-1) for a, b in zip(one, other, strict=True)])
    return float(same.float().mean())
