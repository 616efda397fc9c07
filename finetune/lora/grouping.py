"""Rows of like length side by side: a batch is padded to its longest row, and drawn at random a third of it is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from finetune.lora.collate import Row

WINDOW = 50
"""Batches that are sorted together: enough of them for little padding, few enough for a new company each epoch."""
PATCHES = 28
"""Pixels a side that become one visual token in most models; rows are only compared, so about right is enough."""
LETTERS = 4
"""Letters of English to a token, about."""


class Grouped(Sampler[int]):
    """The order of the rows: random windows sorted by length and cut into batches, those in random order.

    lengths: a number a row, in whatever unit. batch: rows a step over all processes; processes share a step's rows, so their
    number changes nothing. Another order each epoch, and the same one again for the same seed.
    """

    def __init__(self, lengths: Sequence[float], batch: int, seed: int) -> None:
        self.lengths, self.batch, self.seed, self.epoch = lengths, batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is drawn next; the trainer does."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.lengths)).tolist()
        window = WINDOW * self.batch
        ordered = [
            row
            for start in range(0, len(order), window)
            for row in sorted(order[start : start + window], key=self.lengths.__getitem__)
        ]
        whole = len(ordered) // self.batch
        for number in [*rng.permutation(whole).tolist(), whole]:  # what is left over comes last
            yield from ordered[number * self.batch : (number + 1) * self.batch]


def length(row: Row, size: int) -> float:
    """How long a row is, in tokens, about. size: longest side of its pictures, in pixels."""
    words = len(row.example.question) + len(row.said or "") + len(row.reply)
    return len(row.example.shots) * (size / PATCHES) ** 2 + words / LETTERS
