"""Pre-training on pictures of generated puzzles: marks, and values at places and at names.

1. Each place of a picture, that is each token of the vision encoder, says which marks are drawn
   there: digits, letters, colours and shapes.
2. Where a thing is drawn, the place says its value: "3" at a red disc of which there are three.
3. A text is the question of the puzzle, followed by the names of all things in any order. Having
   read the picture, the token of a name, in the question too, says the value of its thing. The
   other tokens say that they have none, so that a classifier finds those that do (docs/LOG.md).

The first two train the vision encoder place by place, as the detectors of objects and attributes do
whose features vision-language models have used (Zhang et al., "VinVL", 2021). With captions and the
words that a picture shows as a whole (`pretraining`), a miniature learned within hours which values
a picture shows, and not which thing has which; captions whose values are all masked have not taught
it either (docs/LOG.md).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

from espresso.datasets.smart101.puzzles import Mark
from espresso.fusion.config import FusionConfig
from espresso.fusion.model import FusionModel, FusionPreTrainedModel
from espresso.fusion.processor import FusionProcessor
from finetune.frames import FrameReader
from finetune.fusion.pretraining import word_head
from finetune.puzzle_pictures import PuzzlePicture

VALUE_WORDS = 4
"""Words of a value that a place or a name says."""
MARKS_WEIGHT = 0.02
"""Weight of the loss of marks, a sum over places and words."""
NO_VALUE = 0
"""What a token says that has no value: token 0 of an encoder is a special one, and no word."""
_RARE = -5.0
"""Logit of a mark at a place where nothing is known yet: most places are empty."""


class FusionForPuzzlePretraining(FusionPreTrainedModel):
    """A `FusionModel` with heads for marks, and for values at places and at names."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__(config)
        self.fusion = FusionModel(config)
        self.marks = nn.Linear(config.hidden_size, config.text_config.vocab_size)
        self.value_places = nn.Embedding(VALUE_WORDS, config.hidden_size)
        self.values, self.named_values = word_head(config), word_head(config)
        self.post_init()
        nn.init.constant_(self.marks.bias, _RARE)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        pixel_values: torch.Tensor,
        frames: torch.Tensor,
        marks: torch.Tensor,
        mark_places: torch.Tensor,
        values: torch.Tensor,
        value_places: torch.Tensor,
        named_values: torch.Tensor,
        other_tokens: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return the sum of the losses under the key `loss`.

        Args:
            input_ids: questions and names of things, one text for each picture, (pictures, length).
            attention_mask: as `input_ids`.
            pixel_values: see `FusionModel.encode_visuals`.
            frames: see `FusionModel.encode_visuals`.
            marks: picture and token of each mark, (marks, 2).
            mark_places: x and y of each mark as shares of the picture, (marks, 2).
            values: picture, place in the value and token of each word of a value, (values, 3).
            value_places: as `mark_places`, where the thing is drawn.
            named_values: picture, position of the name in its text, place in the value and token of
                each word of a value, (values, 4).
            other_tokens: picture and position of tokens that have no value, (tokens, 2).
        """
        visual, padding = self.fusion.encode_visuals(pixel_values, frames)
        text = self.fusion.encode_text(input_ids, attention_mask)
        read, _ = self.fusion(text, attention_mask == 0, visual, padding)
        logits = self.marks(visual)
        wanted = torch.zeros_like(logits)
        wanted[marks[:, 0], _tokens(mark_places, visual), marks[:, 1]] = 1
        at_place = visual[values[:, 0], _tokens(value_places, visual)] + self.value_places(values[:, 1])
        at_name = read[named_values[:, 0], named_values[:, 1]] + self.value_places(named_values[:, 2])
        elsewhere = read[other_tokens[:, 0], other_tokens[:, 1]] + self.value_places.weight[0]
        losses = (
            _mean_loss(self.named_values(at_name), named_values[:, 3]),
            _mean_loss(self.named_values(elsewhere), torch.full_like(other_tokens[:, 0], NO_VALUE)),
            _mean_loss(self.values(at_place), values[:, 2]),
            MARKS_WEIGHT * functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / len(visual),
        )
        return {"loss": sum(losses, torch.zeros((), device=logits.device)), "values": losses[2].detach()}


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
        seed: seed of the order of pictures and of names.
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
        written = [self._text(each, rng) for each in here]
        marks = [(picture, mark) for picture, each in enumerate(here) for mark in each.marks]
        values = [(picture, *each) for picture, one in enumerate(here) for each in self._values(one)]
        named_values = _rows([(picture, *each) for picture, (_, said) in enumerate(written) for each in said], 4)
        texts = self.processor.texts([text for text, _ in written])
        others = texts["attention_mask"].clone()
        others[named_values[:, 0], named_values[:, 1]] = 0
        return {
            **texts,
            "named_values": named_values,
            "other_tokens": others.nonzero(),
            **self.processor.visuals([self.reader.read(each.visual) for each in here]),
            "marks": torch.tensor([(picture, tokens.convert_tokens_to_ids(mark.word)) for picture, mark in marks]),
            "mark_places": torch.tensor([(mark.x, mark.y) for _, mark in marks]),
            "values": _rows([each[:3] for each in values], 3),
            "value_places": torch.tensor([(mark.x, mark.y) for *_, mark in values]).reshape(-1, 2),
        }

    def _text(self, picture: PuzzlePicture, rng: random.Random) -> tuple[str, list[tuple[int, int, int]]]:
        """Return a text, and for the words of values the position of the name, place and token."""
        names = rng.sample(sorted(picture.facts), len(picture.facts))
        text = " ".join([picture.question, *names])
        tokens, said = self.processor.tokens.tokenize(text), list[tuple[int, int, int]]()
        for name in names:
            spelled = self.processor.tokens.tokenize(name)
            ends = [end for end in range(len(spelled), len(tokens) + 1) if tokens[end - len(spelled) : end] == spelled]
            if len(name) == 1:  # "a" may be an article in the question
                ends = ends[-1:]
            said += [(end, *word) for end in ends for word in self._words(picture.facts[name])]
        return text, [each for each in said if each[0] < self.processor.tokens.model_max_length - 1]

    def _values(self, picture: PuzzlePicture) -> Iterator[tuple[int, int, Mark]]:
        """Return place in the value, token, and mark of its thing for the words of values."""
        return ((*word, mark) for mark, value in picture.values_at_marks() for word in self._words(value))

    def _words(self, value: str) -> list[tuple[int, int]]:
        """Return place and token of the words of a value."""
        return [*enumerate(self.processor.tokens(value, add_special_tokens=False).input_ids[:VALUE_WORDS])]


def _rows(rows: Sequence[tuple[int, ...]], width: int) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.long).reshape(-1, width)
