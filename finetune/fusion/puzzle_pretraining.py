"""Pre-training on pictures of generated puzzles: marks, values at their places, values in captions.

1. Each place of a picture, that is each token of the vision encoder, says which marks are drawn
   there: digits, letters, colours and shapes.
2. Where a thing is drawn, the place says its value: "3" at a red disc of which there are three.
3. A caption names things, and all of their values are masked: "red [MASK], blue [MASK]".

The first two train the vision encoder place by place, as the detectors of objects and attributes do
whose features vision-language models have used (Zhang et al., "VinVL", 2021). With captions and the
words that a picture shows as a whole (`pretraining`), a miniature learned within hours which values
a picture shows, and not which thing has which (docs/LOG.md).
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

from espresso.datasets.smart101.puzzles import Mark
from espresso.fusion.config import FusionConfig
from espresso.fusion.model import FusionModel, FusionPreTrainedModel
from espresso.fusion.processor import FusionProcessor
from finetune.fusion.frames import FrameReader
from finetune.fusion.pretraining import IGNORE_INDEX, word_head
from finetune.fusion.puzzle_captions import PuzzlePicture

VALUE_WORDS = 4
"""Words of a value that a place says."""
CAPTION_FACTS = 5
"""Most facts of a caption."""
MARKS_WEIGHT = 0.02
"""Weight of the loss of marks, a sum over places and words."""
_RARE = -5.0
"""Logit of a mark at a place where nothing is known yet: most places are empty."""


class FusionForPuzzlePretraining(FusionPreTrainedModel):
    """A `FusionModel` with heads for marks, for values at places, and for masked words."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__(config)
        self.fusion = FusionModel(config)
        self.marks = nn.Linear(config.hidden_size, config.text_config.vocab_size)
        self.value_places = nn.Embedding(VALUE_WORDS, config.hidden_size)
        self.values, self.words = word_head(config), word_head(config)
        self.post_init()
        nn.init.constant_(self.marks.bias, _RARE)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        pixel_values: torch.Tensor,
        frames: torch.Tensor,
        labels: torch.Tensor,
        marks: torch.Tensor,
        mark_places: torch.Tensor,
        values: torch.Tensor,
        value_places: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return the sum of the three losses under the key `loss`.

        Args:
            input_ids: captions, one for each picture, (pictures, length).
            attention_mask: as `input_ids`.
            pixel_values: see `FusionModel.encode_visuals`.
            frames: see `FusionModel.encode_visuals`.
            labels: the masked tokens, else -100, (pictures, length).
            marks: picture and token of each mark, (marks, 2).
            mark_places: x and y of each mark as shares of the picture, (marks, 2).
            values: picture, place in the value and token of each word of a value, (values, 3).
            value_places: as `mark_places`, where the thing is drawn.
        """
        visual, padding = self.fusion.encode_visuals(pixel_values, frames)
        text = self.fusion.encode_text(input_ids, attention_mask)
        said, _ = self.fusion(text, attention_mask == 0, visual, padding)
        masked = labels != IGNORE_INDEX
        logits = self.marks(visual)
        wanted = torch.zeros_like(logits)
        wanted[marks[:, 0], _tokens(mark_places, visual), marks[:, 1]] = 1
        at_place = visual[values[:, 0], _tokens(value_places, visual)] + self.value_places(values[:, 1])
        losses = (
            _mean_loss(self.words(said[masked]), labels[masked]),
            _mean_loss(self.values(at_place), values[:, 2]),
            MARKS_WEIGHT * functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / len(visual),
        )
        return {"loss": sum(losses, torch.zeros((), device=logits.device)), "values": losses[1].detach()}


def _mean_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy, 0 for no rows: a small batch may have no values."""
    return functional.cross_entropy(logits, labels, reduction="sum") / max(1, len(labels))


def _tokens(places: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
    """Return the positions of the tokens that see places, (places,).

    A token that is no place, as of a ViT, may come first.
    """
    side = math.isqrt(visual.shape[1])
    column, row = (places * side).long().clamp(max=side - 1).T
    return visual.shape[1] - side**2 + row * side + column


class PuzzleBatches(Dataset[dict[str, torch.Tensor]]):
    """Batches of pictures of puzzles.

    Args:
        pictures: the pictures.
        count: number of batches.
        size: pictures per batch.
        seed: seed of the order and of the facts in captions.
        processor: the processor of the model.
        reader: reads pictures.
    """

    def __init__(
        self,
        pictures: Sequence[PuzzlePicture],
        count: int,
        size: int,
        seed: int,
        processor: FusionProcessor,
        reader: FrameReader,
    ) -> None:
        self.pictures, self.count, self.size, self.seed = pictures, count, size, seed
        self.processor, self.reader = processor, reader

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = random.Random(f"{self.seed} {index}")
        here = rng.sample(self.pictures, min(self.size, len(self.pictures)))
        tokens = self.processor.tokens
        captions, masked = zip(*(self._caption(each, rng) for each in here), strict=True)
        texts = self.processor.texts(captions)
        labels = texts["input_ids"].masked_fill(texts["attention_mask"] == 0, IGNORE_INDEX)
        for row, hidden in zip(labels, masked, strict=True):
            row[~torch.isin(torch.arange(len(row)), torch.tensor(hidden))] = IGNORE_INDEX
        texts["input_ids"][labels != IGNORE_INDEX] = tokens.mask_token_id
        marks = [(picture, mark) for picture, each in enumerate(here) for mark in each.marks]
        values = [(picture, *each) for picture, one in enumerate(here) for each in self._values(one)]
        return {
            **texts,
            **self.processor.visuals([self.reader.read(each.visual) for each in here]),
            "labels": labels,
            "marks": torch.tensor([(picture, tokens.convert_tokens_to_ids(mark.word)) for picture, mark in marks]),
            "mark_places": torch.tensor([(mark.x, mark.y) for _, mark in marks]),
            "values": torch.tensor([(picture, place, token) for picture, place, token, _ in values], dtype=torch.long).reshape(
                -1, 3
            ),
            "value_places": torch.tensor([(mark.x, mark.y) for *_, mark in values]).reshape(-1, 2),
        }

    def _caption(self, picture: PuzzlePicture, rng: random.Random) -> tuple[str, list[int]]:
        """Return a caption, and the positions of the tokens of its values."""
        chosen = rng.sample(sorted(picture.facts), min(CAPTION_FACTS, len(picture.facts)))
        caption, spans = "", list[tuple[int, int]]()
        for name in chosen:
            start = len(caption) + len(name) + 1
            caption += f"{name} {picture.facts[name]}, "
            spans.append((start, start + len(picture.facts[name])))
        offsets = self.processor.tokens(caption, return_offsets_mapping=True, truncation=True).offset_mapping
        inside = [any(low <= start < end <= high for low, high in spans) for start, end in offsets]
        return caption, [place for place, hidden in enumerate(inside) if hidden]

    def _values(self, picture: PuzzlePicture) -> Iterator[tuple[int, int, Mark]]:
        """Yield place in the value, token, and mark of its thing for the words of values."""
        drawn = defaultdict[str, list[Mark]](list)
        for mark in picture.marks:
            drawn[mark.word].append(mark)
        for name, value in picture.facts.items():
            if name in drawn:
                tokens = self.processor.tokens(value, add_special_tokens=False).input_ids[:VALUE_WORDS]
                yield from ((place, token, mark) for mark in drawn[name] for place, token in enumerate(tokens))
