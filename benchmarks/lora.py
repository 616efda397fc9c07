"""Rows a second of stage 1: `finetune.lora.train` against a bare TRL script on the same rows, model and adapter.

    uv run python -m benchmarks.lora [--steps 30] [--rounds 2]

The bare script is what TRL's documentation shows: a dataset of conversations with PIL images, SFTTrainer's own collator, the same
arguments. Both draw their pictures as batches need them. Each round trains both, so that a busy machine is busy for both; the
fastest of the rounds counts. Loading, measuring and looking at the adapter are left out: the trainer's own clock is read.
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
from finetune.config import LoraConfig, read
from finetune.lora.collate import Row
from finetune.lora.examples import load
from finetune.lora import train as lora


def ours(config: LoraConfig, rows: Sequence[Row], steps: int, folder: Path) -> float:
    """Rows a second of our trainer."""
    trainer = lora.trainer(config, config.evidence, config.model, rows, (), folder, steps=steps)
    return float(trainer.train().metrics["train_samples_per_second"])


def bare(config: LoraConfig, rows: Sequence[Row], steps: int, folder: Path) -> float:
    """Rows a second of SFTTrainer by itself."""

    def conversation(items: dict[str, list[int]]) -> dict[str, list[Any]]:
        made: dict[str, list[Any]] = {"prompt": [], "completion": [], "images": []}
        for row in (rows[number] for number in items["number"]):
            messages = row.messages(config.prompts, config.frame_size)
            made["prompt"].append([{"role": message.role, "content": _parts(message.content)} for message in messages])
            made["completion"].append([{"role": "assistant", "content": _parts((row.reply,))}])
            pictures = [part for message in messages for part in message.content if isinstance(part, Picture)]
            made["images"].append([Image.fromarray(picture.pixels) for picture in pictures])
        return made

    trainer = SFTTrainer(
        lora.adapted(config, config.model, None),
        lora.arguments(config, config.evidence, folder, steps),
        train_dataset=Dataset.from_dict({"number": range(len(rows))}).with_transform(conversation),
        processing_class=AutoProcessor.from_pretrained(config.model),
    )
    return float(trainer.train().metrics["train_samples_per_second"])


def _parts(content: Sequence[str | Picture]) -> list[dict[str, str]]:
    return [{"type": "image"} if isinstance(part, Picture) else {"type": "text", "text": part} for part in content]


def main() -> None:
    """Print both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("finetune/configs/tiny.yaml"))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    config = read(asked.config, LoraConfig)
    rows = [Row(example) for example in load(config.data[0], config.seed, asked.steps * config.batch).examples]
    best = {"ours": 0.0, "bare TRL": 0.0}
    for _ in range(asked.rounds):
        for name, work in (("ours", ours), ("bare TRL", bare)):
            with tempfile.TemporaryDirectory() as folder:
                best[name] = max(best[name], work(config, rows, asked.steps, Path(folder)))
    for name, rate in best.items():
        print(f"{name:10}{rate:8.1f} rows/s")
    print(f"ratio     {best['ours'] / best['bare TRL']:8.2f}")


if __name__ == "__main__":
    main()
