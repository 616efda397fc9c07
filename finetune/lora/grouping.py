"""Sampling of training rows: batches of rows of similar length, to reduce padding.

Random batches of the tiny configuration are 31 % padding; grouped by exact length, 5 %.
The Trainer's own option for it (`train_sampling_strategy="group_by_length"`) draws the order from
the global random state and groups per process, so that a training that is resumed after the first
epoch repeats some rows and skips others, and two processes train on other batches than one does.
The sampler below uses the same grouping with an order that depends on the seed and the epoch alone.

Lengths are rounded to steps of 32 tokens, so that rows of similar length come in random order.
That leaves 20 % padding. The shipped adapters were trained so; whether a task was not learned
before because rows were grouped by exact length is open (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler

from finetune.lora.collate import TrainingRow

PIXELS_PER_TOKEN = 28
"""Side in pixels of the part of a frame that becomes one visual token, in most models."""
LETTERS_PER_TOKEN = 4
"""Letters of English text per token, approximately."""
LENGTH_STEP = 32
"""Tokens to which lengths are rounded."""


class SeededLengthSampler(LengthGroupedSampler):
    """Length grouping with a new order in each epoch that is the same for the same seed.

    Args:
        lengths: length of each row, in any unit.
        batch: rows per optimizer step over all processes.
        seed: seed of the order.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        super().__init__(batch, lengths=list(lengths), generator=torch.Generator())
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch to draw next; the Trainer calls it, on resume too."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()


def approximate_length(row: TrainingRow, size: int) -> int:
    """Estimate the length of a row, in steps of `LENGTH_STEP` tokens.

    Args:
        row: the row.
        size: longest side of a frame in pixels.
    """
    letters = len(row.example.question) + len(row.prompt_evidence or "") + len(row.reply)
    tokens = len(row.frames) * (size / PIXELS_PER_TOKEN) ** 2 + letters / LETTERS_PER_TOKEN
    return round(tokens / LENGTH_STEP)
