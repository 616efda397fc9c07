"""Train rows into a LoRA adapter: TRL's SFTTrainer and PEFT do the work (loop, checkpoints, resuming, several processes).

What is ours: the rows and their collation, what is adapted, and the looks at the result. Only the language model is adapted
unless the config asks for more, because vLLM serves no other part of an adapter.
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
from peft import LoraConfig as PeftConfig
from peft import PeftModel, get_peft_model
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForImageTextToText, PreTrainedModel, set_seed
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from espresso.errors import DataError, ModelError
from espresso.models.device import best_dtype
from espresso.models.processor import Reader
from finetune.config import LoraConfig, Stage
from finetune.lora.collate import Collator, Row
from finetune.lora.grouping import Grouped, length

logger = logging.getLogger(__name__)
_TORCH_CANNOT_WRITE = re.compile("PytorchStreamWriter|inline_container|unexpected pos")
FIXED_ROWS = 64
"""Rows that the adapter is looked at with, beside its base and merged into it."""


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    steps: optimizer steps in all. before, after: `loss` and `token_accuracy` on the held-out rows, empty without any. history:
    (step, loss). changed: share of the fixed rows' reply tokens for which the adapter changes the most likely one; merged: share
    for which adapter and merged weights agree on it.
    """

    steps: int
    before: dict[str, float]
    after: dict[str, float]
    history: tuple[tuple[float, float], ...]
    changed: float
    merged: float


def train(
    config: LoraConfig,
    stage: Stage,
    base: str,
    rows: Sequence[Row],
    held_out: Sequence[Row],
    out: Path,
    checkpoints: Path,
    *,
    first: Path | None = None,
    steps: int | None = None,
) -> Trained:
    """Train an adapter of the model in folder `base` into `out`, or go on where the last checkpoint stopped.

    checkpoints: a folder that is there. first: an adapter to go on from, instead of a fresh one. steps: how many, instead of the
    stage's epochs. Raises DataError for a row that is too long or a disk that takes no more, ModelError for an adapter that does
    not fit the base or changes nothing.
    """

    def fresh() -> LoraTrainer:
        return trainer(config, stage, base, rows, held_out, checkpoints, first=first, steps=steps)

    # A trainer that has evaluated no longer shares gradients between processes: what is measured before is another one.
    before = _measured(fresh()) if held_out else {}
    made = fresh()
    try:
        made.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)))
        after = _measured(made) if held_out else {}
        _save(made, out)
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _TORCH_CANNOT_WRITE.search(str(error)):
            raise
        reason = str(error).splitlines()[0]
        raise DataError(f"{checkpoints}: cannot be written ({reason}). Make room; the same command goes on.") from error
    changed, merged = _looked_at(made.accelerator.unwrap_model(made.model), made.data_collator, rows[:FIXED_ROWS])
    history = tuple((entry["step"], entry["loss"]) for entry in made.state.log_history if "loss" in entry)
    return Trained(made.state.global_step, before, after, history, changed, merged)


class LoraTrainer(SFTTrainer):
    """TRL's trainer, its rows in a given order."""

    def __init__(self, *args: Any, order: Grouped, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.order = order

    def _get_train_sampler(self, *_: Any) -> Grouped:
        return self.order


def trainer(
    config: LoraConfig,
    stage: Stage,
    base: str,
    rows: Sequence[Row],
    held_out: Sequence[Row],
    checkpoints: Path,
    *,
    first: Path | None = None,
    steps: int | None = None,
) -> LoraTrainer:
    """TRL's trainer over our rows; see `train`."""
    set_seed(config.seed)
    reader = Reader(base, sees=True)
    return LoraTrainer(
        adapted(config, base, first),
        arguments(config, stage, checkpoints, steps),
        data_collator=Collator(reader, style=config.prompts, size=config.frame_size, max_length=config.max_length),
        train_dataset=_dataset(rows),
        eval_dataset=_dataset(held_out) if held_out else None,
        processing_class=reader.processor,
        order=Grouped([length(row, config.frame_size) for row in rows], config.batch, config.seed),
    )


def arguments(config: LoraConfig, stage: Stage, checkpoints: Path, steps: int | None) -> SFTConfig:
    """The trainer's settings. Raises DataError where the processes cannot share a batch."""
    made = SFTConfig(
        output_dir=str(checkpoints),
        max_steps=steps or -1,
        num_train_epochs=stage.epochs,
        per_device_train_batch_size=config.device_batch,
        per_device_eval_batch_size=config.device_batch,
        learning_rate=stage.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        gradient_checkpointing=config.gradient_checkpointing,
        bf16=best_dtype() is torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        dataloader_num_workers=config.workers,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,  # a row that is too long is refused, not cut
        remove_unused_columns=False,
        save_steps=config.save_every,
        save_total_limit=1,
        logging_steps=10,
        report_to=[],
        seed=config.seed,
        data_seed=config.seed,
    )
    share, rest = divmod(config.batch, config.device_batch * made.world_size)
    if rest or not share:
        raise DataError(
            f"batch of {config.batch} cannot be shared by {made.world_size} processes of {config.device_batch} each. "
            "Make batch a multiple of their product."
        )
    made.gradient_accumulation_steps = share
    return made


def _dataset(rows: Sequence[Row]) -> Dataset:
    """Rows as the trainer's kind of dataset; they stay as they are, and their pictures undecoded, until a batch is made."""

    def fetch(items: dict[str, list[int]]) -> dict[str, list[Row]]:
        return {"row": [rows[number] for number in items["number"]]}

    return Dataset.from_dict({"number": range(len(rows))}).with_transform(fetch)


def adapted(config: LoraConfig, base: str, first: Path | None) -> PeftModel:
    """Put an adapter on the base, fresh or `first`; all else is frozen."""
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=best_dtype())
    if first is None:
        settings = PeftConfig(
            r=config.lora.rank,
            lora_alpha=config.lora.alpha,
            lora_dropout=config.lora.dropout,
            target_modules=_targets(model, vision=config.lora.vision),
            task_type="CAUSAL_LM",
        )
        return get_peft_model(model, settings)
    try:
        return PeftModel.from_pretrained(model, str(first), is_trainable=True)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{first}: this adapter does not fit {base} ({reason}). Train the first stage on this base.") from error


def _targets(model: PreTrainedModel, *, vision: bool) -> str:
    """Name the linear layers to adapt, as a pattern: those of the language model, or of every part."""
    decoder = model.get_decoder()
    (name,) = (name for name, module in model.named_modules() if module is decoder)
    leaves = {path.rpartition(".")[2] for path, module in decoder.named_modules() if isinstance(module, nn.Linear)}
    if not vision:
        return rf"{re.escape(name)}\..*\.({'|'.join(sorted(leaves))})"
    logger.warning("The adapter changes vision tower and projector too: vLLM will not apply that part of it.")
    head = model.get_output_embeddings()
    every = (path for path, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head)
    return "|".join(re.escape(path) for path in every)


def _save(trainer: SFTTrainer, out: Path) -> None:
    """Write the adapter, weights and config, without the copy of the tokenizer and the template of a card that TRL adds."""
    part = out.with_name(f"{out.name}.part")
    trainer.save_model(str(part))
    if trainer.accelerator.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        for file in part.glob("adapter_*"):
            file.replace(out / file.name)
        shutil.rmtree(part)


def _measured(trainer: SFTTrainer) -> dict[str, float]:
    found = trainer.evaluate()
    return {"loss": found["eval_loss"], "token_accuracy": found["eval_mean_token_accuracy"]}


def _looked_at(model: PeftModel, collate: Any, rows: Sequence[Row]) -> tuple[float, float]:
    """Compare the most likely reply tokens with the adapter, without it, and merged: (share changed, share agreeing when merged).

    Raises ModelError where adapter and base have the very same logits.
    """
    model.eval()
    batches = [collate([{"row": row}]) for row in rows]
    adapted = [_logits(model, batch) for batch in batches]
    with model.disable_adapter():
        bare = [_logits(model, batch) for batch in batches]
    if all(torch.equal(one, other) for one, other in zip(adapted, bare, strict=True)):
        raise ModelError("the trained adapter changes no logits. Raise learning_rate or the number of steps.")
    merged_model = model.merge_and_unload()
    merged = [_logits(merged_model, batch) for batch in batches]
    return 1 - _agreement(adapted, bare), _agreement(adapted, merged)


def _logits(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits before each token of the reply, (tokens, vocabulary)."""
    device = next(model.parameters()).device
    inputs = {name: value.to(device) for name, value in batch.items() if name != "labels"}
    with torch.inference_mode():
        logits: torch.Tensor = model(**inputs, use_cache=False).logits
    return logits[0, :-1][batch["labels"][0, 1:].to(device) >= 0].float().cpu()


def _agreement(some: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> float:
    same = torch.cat([one.argmax(-1) == other.argmax(-1) for one, other in zip(some, others, strict=True)])
    return float(same.float().mean())
