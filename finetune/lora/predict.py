"""Predict evidence with a first stage's adapter, to train the second stage on it.

At inference the second stage reads predicted evidence, which contains mistakes. If it is trained on
ground-truth evidence alone, it relies on evidence too much.

Predictions are stored beside the first stage's adapter; see `finetune.lora.shared`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import track

from espresso.datasets import Example
from espresso.models.chat import GenerateConfig
from espresso.models.engine import Engine
from espresso.profiles.weights import weights_digest
from finetune.lora.collate import TrainingRow
from finetune.lora.config import FinetuneConfig
from finetune.lora.shared import share

GENERATE = GenerateConfig(adapter="evidence", max_tokens=256)
"""Greedy decoding, as at inference."""
BATCH_TOKENS = 32 * 6144
"""Token budget of a batch: the number of prompts is this divided by `max_length`, 32 with the
paper's 6,144."""


def predict_evidence(
    config: FinetuneConfig, base: str, first: Path, examples: Sequence[Example], *, rank: int = 0, processes: int = 1
) -> dict[str, str]:
    """Generate evidence with the adapter in `first`, greedily; return it by example id.

    Args:
        config: prompt style, frame size and maximum length.
        base: folder of the base model.
        first: folder of the first stage's adapter. Predictions are kept in the files
            `predicted-<digest of the weights>*.jsonl` in it, one per process.
        examples: the examples to predict for, the same in all processes.
        rank: number of this process, from 0.
        processes: number of processes that call this function, each with another rank.

    Raises:
        DataError: predictions cannot be written, or the other processes do not predict their
            shares.
        MediaError: a frame cannot be decoded.
    """

    def predict(missing: dict[str, Example]) -> Iterator[tuple[str, str]]:
        with _load_weights_in_every_process():
            engine = Engine(base, {"evidence": str(first)})
        yield from _generate(config, engine, list(missing.values()), show_progress=rank == 0)
        del engine
        gc.collect()  # free the weights before the training loads its own

    stem = f"predicted-{weights_digest(first)}"
    by_id = {example.id: example for example in examples}
    return share(by_id, predict, first, stem, "predictions", rank=rank, processes=processes)


def _generate(
    config: FinetuneConfig, engine: Engine, examples: Sequence[Example], *, show_progress: bool
) -> Iterator[tuple[str, str]]:
    """Generate evidence in batches; yield (id, evidence) pairs."""
    size = max(1, BATCH_TOKENS // config.max_length)
    batches = [examples[start : start + size] for start in range(0, len(examples), size)]
    for batch in track(batches, "predicting evidence", console=Console(stderr=True), disable=not show_progress):
        conversations = [TrainingRow(example).messages(config.prompts, config.frame_size) for example in batch]
        prompts = [engine.processor.render(messages) for messages in conversations]
        replies = engine.generate(prompts, conversations, GENERATE)
        yield from ((example.id, reply.text) for example, reply in zip(batch, replies, strict=True))


@contextmanager
def _load_weights_in_every_process() -> Iterator[None]:
    """Turn FSDP's RAM-efficient loading off, which leaves zeros in all processes but the first."""
    name = "FSDP_CPU_RAM_EFFICIENT_LOADING"
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value
