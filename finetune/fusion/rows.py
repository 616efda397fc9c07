"""Rows of pairs: a text, two visuals, and whether the text is true."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch.utils.data import Dataset

from espresso.datasets.raiv.pairs import RaivPair, mine
from espresso.datasets.raiv.reasons import reason_question
from espresso.datasets.raiv.situations import Situation, VisualReference
from espresso.datasets.raiv.statements import Kind, with_reason
from espresso.errors import DataError
from espresso.fusion.processor import FusionProcessor
from finetune.frames import FrameReader
from finetune.fusion.config import TspConfig
from finetune.fusion.pretraining import draw_batch

BLACK = (np.zeros((8, 8, 3), np.uint8),)
"""The frames of a hidden visual; the processor resizes them."""


TRIES = 20
"""Batches of visuals that are searched for pairs."""


@dataclass(frozen=True)
class Row:
    """A text about two visuals."""

    text: str

    visuals: tuple[VisualReference, VisualReference]

    label: bool


def statements(pairs: Sequence[RaivPair]) -> list[Row]:
    """Return the rows of the classification task."""
    return [Row(pair.statement, pair.visuals, pair.label) for pair in pairs]


def reasons(pairs: Sequence[RaivPair]) -> list[Row]:
    """Return the rows of the reasoning task: the question of a pair with each of its reasons.

    Pairs without reasons have none.
    """
    return [
        Row(with_reason(reason_question(pair).text, reason), pair.visuals, number == pair.reason)
        for pair in pairs
        for number, reason in enumerate(pair.reasons or ())
    ]


def hidden_sides(names: Collection[str]) -> list[int]:
    """Return the positions of visuals that are called "first" and "second"."""
    return [("first", "second").index(name) for name in names]


class RowCollator:
    """Collates rows; a visual of several rows is encoded once.

    Args:
        processor: the processor of the model.
        reader: reads the frames of visuals.
        hidden: positions of the visuals that are replaced by a black picture.
    """

    def __init__(self, processor: FusionProcessor, reader: FrameReader, hidden: Collection[int] = ()) -> None:
        self.processor, self.reader, self.hidden = processor, reader, hidden

    def __call__(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Return the arguments of `FusionForPairs.forward`."""
        shown = [tuple(None if side in self.hidden else row.visuals[side] for side in (0, 1)) for row in rows]
        places = {visual: place for place, visual in enumerate(dict.fromkeys(chain.from_iterable(shown)))}
        return {
            **self.processor.texts([row.text for row in rows]),
            **self.processor.visuals([self.reader.read(visual) if visual else BLACK for visual in places]),
            "pairs": torch.tensor([[places[visual] for visual in pair] for pair in shown]),
            "labels": torch.tensor([float(row.label) for row in rows]),
        }


class MinedBatches(Dataset[dict[str, torch.Tensor]]):
    """Batches of pairs that are mined when they are needed: other pairs in each epoch.

    A batch has visuals of one kind of pairs. They are drawn file by file, each file followed by one
    that shares an object with it ("conditioned") or by any other.

    Args:
        situations: captioned images and videos.
        config: the stage.
        count: number of batches.
        rows: rows per batch.
        seed: seed of what is drawn.
    """

    def __init__(
        self,
        situations: Sequence[Situation],
        config: TspConfig,
        count: int,
        rows: int,
        seed: int,
        collate: RowCollator,
    ) -> None:
        self.config, self.count, self.rows, self.seed, self.collate = config, count, rows, seed, collate
        self.images = [each for each in situations if each.visual.kind == "image"]
        self.videos = [each for each in situations if each.visual.kind == "video"]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = random.Random(f"{self.seed} {index}")
        # Eight consecutive batches are of one kind, so that the processes of a step take equally
        # long.
        kind = random.Random(f"{self.seed} kind {index // 8}").choice(self.config.kinds)
        for _ in range(TRIES):
            pairs = mine(kind, self._visuals(kind, rng), self.rows, rng, share=self.config.mining == "conditioned")
            if pairs:
                twins = zip(pairs[::2], pairs[1::2], strict=True)
                return self.collate([row for true, false in twins for row in self._rows(true, false, rng)])
        raise DataError(
            f"no {kind} pairs are found among {self.config.visuals} visuals. Raise `visuals`, remove {kind} from `kinds`, "
            "or give captions that name more objects and actions that several visuals share."
        )

    def _visuals(self, kind: Kind, rng: random.Random) -> list[Situation]:
        """Draw the visuals of a batch."""
        size = self.config.visuals
        match kind:
            case "im-im":
                return draw_batch(self.images, size, rng)
            case "vid-vid":
                return draw_batch(self.videos, size, rng)
        return draw_batch(self.images, size // 2, rng) + draw_batch(self.videos, size // 2, rng)

    def _rows(self, true: RaivPair, false: RaivPair, rng: random.Random) -> list[Row]:
        """Return the rows of a statement: a true and a false one.

        They are its two pairs, or the false pair with the right and with a wrong reason.
        """
        if false.reasons and false.reason is not None and rng.random() < self.config.reasons:
            rows = reasons([false])
            return [rows[false.reason], rng.choice([row for row in rows if not row.label])]
        return statements([true, false])
