"""Predict evidence with a first stage's adapter, to train the second stage on it.

At inference the second stage reads predicted evidence, which contains mistakes. If it is trained on
ground-truth evidence alone, it relies on evidence too much.

Predictions are stored beside the first stage's adapter; an interrupted run is resumed, with any
number of processes. Each process predicts its share into a file of its own and then waits for the
other files. The wait is not a collective operation: NCCL aborts a collective after 10 minutes, and
a share takes longer.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import track

from espresso.datasets import Example
from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.models.chat import GenerateConfig
from espresso.models.engine import Engine
from espresso.profiles.weights import weights_digest
from finetune.lora.collate import TrainingRow
from finetune.lora.config import FinetuneConfig

GENERATE = GenerateConfig(adapter="evidence", max_tokens=256)
"""Greedy decoding, as at inference."""
BATCH_TOKENS = 32 * 6144
"""Token budget of a batch: the number of prompts is this divided by `max_length`, 32 with the
paper's 6,144."""
POLL_S = 2.0
"""Seconds between two looks at the predictions of the other processes."""
STALL_S = 3600.0
"""Seconds without a new prediction after which a process stops waiting: far longer than a batch or
the loading of a model takes."""


def predict_evidence(
    config: FinetuneConfig, base: str, first: Path, examples: Sequence[Example], *, rank: int = 0, processes: int = 1
) -> dict[str, str]:
    """Generate evidence with the adapter in `first`, greedily; return it by example id.

    Args:
        config: prompt style, frame size and maximum length.
        base: folder of the base model.
        first: folder of the first stage's adapter. Predictions are read from all files
            `predicted-<digest of the weights>*.jsonl` in it; this process appends its own to
            `predicted-<digest of the weights>.<rank>.jsonl`.
        examples: the examples to predict for, the same in all processes.
        rank: number of this process, from 0.
        processes: number of processes that call this function, each with another rank.

    Raises:
        DataError: the other processes do not predict their shares.
        MediaError: a frame cannot be decoded.
    """
    if not examples:
        return {}
    stem = f"predicted-{weights_digest(first)}"
    file = first / f"{stem}.{rank}.jsonl"
    _remove_incomplete_line(file)
    predicted = _read_predictions(first, stem)
    missing = [example for example in examples[rank::processes] if example.id not in predicted]
    if missing:
        with _load_weights_in_every_process():
            engine = Engine(base, {"evidence": str(first)})
        _generate(config, engine, missing, file, show_progress=rank == 0)
        del engine
        gc.collect()  # free the weights before the training loads its own
    return _wait_for_all(first, stem, examples)


def _generate(config: FinetuneConfig, engine: Engine, examples: Sequence[Example], file: Path, *, show_progress: bool) -> None:
    """Generate evidence in batches and append each to the file as a `[id, evidence]` line."""
    size = max(1, BATCH_TOKENS // config.max_length)
    batches = [examples[start : start + size] for start in range(0, len(examples), size)]
    with file.open("a") as lines:
        for batch in track(batches, "predicting evidence", console=Console(stderr=True), disable=not show_progress):
            conversations = [TrainingRow(example).messages(config.prompts, config.frame_size) for example in batch]
            prompts = [engine.processor.render(messages) for messages in conversations]
            replies = engine.generate(prompts, conversations, GENERATE)
            for example, reply in zip(batch, replies, strict=True):
                lines.write(json.dumps([example.id, reply.text]) + "\n")
            lines.flush()


def _wait_for_all(first: Path, stem: str, examples: Sequence[Example]) -> dict[str, str]:
    """Wait until every example is predicted; return the predictions by example id."""
    count, since = -1, time.monotonic()
    while True:
        predicted = _read_predictions(first, stem)
        missing = sum(example.id not in predicted for example in examples)
        if not missing:
            return {example.id: predicted[example.id] for example in examples}
        if len(predicted) != count:
            count, since = len(predicted), time.monotonic()
        elif time.monotonic() - since > STALL_S:
            raise DataError(
                f"{first}: {missing} of {len(examples)} predictions are missing, and other processes added none for "
                f"{STALL_S / 60:.0f} minutes. Make sure that all processes use the same file system, and run the command "
                "again to resume."
            )
        time.sleep(POLL_S)


def _read_predictions(first: Path, stem: str) -> dict[str, str]:
    """Read the predictions of all processes, except an incomplete last line of a file."""
    predicted: dict[str, str] = {}
    for file in sorted(first.glob(f"{stem}*.jsonl")):
        text = file.read_text()
        predicted |= dict(json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines())
    return predicted


def _remove_incomplete_line(file: Path) -> None:
    """Remove an incomplete last line, left by an interrupted run."""
    text = file.read_text() if file.exists() else ""
    complete = text[: text.rfind("\n") + 1]
    if complete != text:
        write_atomic(file, complete)


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
