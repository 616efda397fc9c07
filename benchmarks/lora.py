"""Compare the training speed of `finetune.lora.train` with a plain TRL script (stage 1).

    uv run python -m benchmarks.lora [--steps 30] [--rounds 2]

The plain script follows TRL's documentation: a dataset of conversations with PIL images,
SFTTrainer's own collator, and the same rows, model, adapter and arguments. Both render pictures on
demand. Rounds alternate, so that other load on the machine affects both; the fastest round of each
is printed. Speed is the trainer's own `train_samples_per_second`, which leaves out loading and
evaluation.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from PIL import Image
from transformers import AutoProcessor
from trl import SFTTrainer

from espresso.models.chat import Picture
from espresso.models.device import model_dtype
from finetune.config import read_config
from finetune.lora import train
from finetune.lora.collate import TrainingRow
from finetune.lora.config import FinetuneConfig
from finetune.lora.examples import load


def ours(config: FinetuneConfig, rows: Sequence[TrainingRow], steps: int, folder: Path) -> float:
    """Return rows per second of our trainer."""
    trainer = train.build_trainer(config, config.evidence, config.model, rows, (), folder, steps=steps)
    return float(trainer.train().metrics["train_samples_per_second"])


def plain_trl(config: FinetuneConfig, rows: Sequence[TrainingRow], steps: int, folder: Path) -> float:
    """Return rows per second of a plain SFTTrainer."""

    def conversation(items: dict[str, list[int]]) -> dict[str, list[Any]]:
        batch: dict[str, list[Any]] = {"prompt": [], "completion": [], "images": []}
        for row in (rows[number] for number in items["number"]):
            messages = row.messages(config.prompts, config.frame_size)
            batch["prompt"].append([{"role": message.role, "content": _parts(message.content)} for message in messages])
            batch["completion"].append([{"role": "assistant", "content": _parts((row.reply,))}])
            pictures = [part for message in messages for part in message.content if isinstance(part, Picture)]
            batch["images"].append([Image.fromarray(picture.pixels) for picture in pictures])
        return batch

    trainer = SFTTrainer(
        train.load_model(config, config.model, None),
        train.training_arguments(config, config.evidence, folder, steps, model_dtype(config.model)),
        train_dataset=Dataset.from_dict({"number": range(len(rows))}).with_transform(conversation),
        processing_class=AutoProcessor.from_pretrained(config.model),
    )
    return float(trainer.train().metrics["train_samples_per_second"])


def _parts(content: Sequence[str | Picture]) -> list[dict[str, str]]:
    return [{"type": "image"} if isinstance(part, Picture) else {"type": "text", "text": part} for part in content]


def main() -> None:
    """Print both speeds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("finetune/configs/lora/tiny.yaml"), help="training config")
    parser.add_argument("--steps", type=int, default=30, help="training steps of each round")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    config = read_config(options.config, FinetuneConfig)
    rows = [TrainingRow(example) for example in load(config.data[0], config.seed, options.steps * config.batch).examples]
    best = {"ours": 0.0, "plain TRL": 0.0}
    for _ in range(options.rounds):
        for name, work in (("ours", ours), ("plain TRL", plain_trl)):
            with tempfile.TemporaryDirectory() as folder:
                best[name] = max(best[name], work(config, rows, options.steps, Path(folder)))
    for name, rate in best.items():
        print(f"{name:10}{rate:8.1f} rows/s")
    print(f"ratio     {best['ours'] / best['plain TRL']:8.2f}")


if __name__ == "__main__":
    main()
