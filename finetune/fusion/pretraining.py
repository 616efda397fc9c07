"""Pre-training on captioned images: masked words, matching of image and caption, and shown words.

The first two are METER's objectives. Each image is encoded once for its texts: two captions with
masked words, a caption, and one that does not match. Half of the latter are captions of another
image; in the others, a verb or noun is replaced by that of another image.

Only words that say what is shown are masked: most other words can be guessed without the image
(Bitton et al., "Data Efficient Masked Language Modeling for Vision and Language", 2021). With all
words, a miniature does not learn to recognize things within hours.

The third objective names what is shown from the image alone (Joulin et al., "Learning Visual
Features from Large Weakly Supervised Data", 2016). It trains the vision encoder of a miniature
directly, which the other two reach through cross-attention only: matching leaves chance several
times earlier (docs/LOG.md).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

from espresso.datasets.raiv.situations import Situation
from espresso.errors import DataError
from espresso.fusion.config import FusionConfig
from espresso.fusion.model import FusionModel, FusionPreTrainedModel, pool
from espresso.fusion.processor import FusionProcessor
from finetune.frames import FrameReader
from finetune.fusion.captions import describe

IGNORE_INDEX = -100

MASKED_TEXTS = 2
"""Captions with masked words of each image in a batch."""


_RARE = -4.6
"""Logit of one word in a hundred, as most words are not shown (Lin et al., "Focal Loss", 2017)."""


def word_head(config: FusionConfig) -> nn.Sequential:
    """Return a head that predicts a word from a token: (..., hidden) -> (..., vocabulary)."""
    size = config.hidden_size
    return nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.LayerNorm(size), nn.Linear(size, config.text_config.vocab_size))


class FusionForPretraining(FusionPreTrainedModel):
    """A `FusionModel` with heads for masked words, for matching and for shown words."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__(config)
        self.fusion = FusionModel(config)
        self.words = word_head(config)
        self.match = nn.Linear(2 * config.hidden_size, 1)
        words_shown = nn.Linear(config.hidden_size, config.text_config.vocab_size)
        self.shown = nn.Sequential(nn.LayerNorm(config.hidden_size), words_shown)
        self.post_init()
        nn.init.constant_(words_shown.bias, _RARE)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        pixel_values: torch.Tensor,
        frames: torch.Tensor,
        visual: torch.Tensor,
        labels: torch.Tensor,
        matches: torch.Tensor,
        shown: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return the sum of the three losses under the key `loss`.

        Args:
            input_ids: texts, (rows, length).
            attention_mask: as `input_ids`.
            pixel_values: see `FusionModel.encode_visuals`.
            frames: see `FusionModel.encode_visuals`.
            visual: the position of each row's visual in `frames`, (rows,).
            labels: the masked tokens, else -100, (rows, length).
            matches: whether text and visual match, else -100, (rows,).
            shown: 1 for each token of the words that say what a visual shows, -100 for those of
                what it may show, else 0, (visuals, vocabulary).
        """
        visuals, padding = self.fusion.encode_visuals(pixel_values, frames)
        text = self.fusion.encode_text(input_ids, attention_mask)
        sides = visuals[visual] + self.fusion.visual_id.weight[torch.arange(len(visual), device=visual.device) % 2, None]
        words, views = self.fusion(text, attention_mask == 0, sides, padding[visual])
        masked, judged = labels != IGNORE_INDEX, matches != IGNORE_INDEX
        logits = self.match(pool(words, views, padding[visual]))[judged].squeeze(-1)
        seen = self.shown(visuals.masked_fill(padding[..., None], -torch.inf).amax(1))
        known = shown != IGNORE_INDEX
        losses = (
            functional.cross_entropy(self.words(words[masked]), labels[masked]),
            functional.binary_cross_entropy_with_logits(logits, matches[judged].to(logits.dtype)),
            functional.binary_cross_entropy_with_logits(seen[known], shown[known].to(seen.dtype), reduction="sum") / len(shown),
        )
        return {"loss": sum(losses, torch.zeros((), device=logits.device)), "matching": losses[1].detach()}


class CaptionBatches(Dataset[dict[str, torch.Tensor]]):
    """Batches of images with four texts each.

    The images of one story are in one batch, because a story is expensive to make.

    Args:
        situations: the images.
        count: number of batches.
        size: images per batch.
        masked: share of the verbs and nouns that are masked.
        seed: seed of the order and of what is drawn.
    """

    def __init__(
        self,
        situations: Sequence[Situation],
        count: int,
        size: int,
        masked: float,
        seed: int,
        processor: FusionProcessor,
        reader: FrameReader,
    ) -> None:
        self.situations, self.count, self.size, self.masked, self.seed = situations, count, size, masked, seed
        self.processor, self.reader = processor, reader

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = random.Random(f"{self.seed} {index}")
        here = draw_batch(self.situations, self.size, rng)
        masked = [describe(each, rng) for _ in range(MASKED_TEXTS) for each in here]
        captions = [describe(each, rng) for each in here]
        others = [_other(number, captions, here, rng) for number in range(len(here))]
        batch = {
            **self.processor.texts([*masked, *captions, *others]),
            **self.processor.visuals([self.reader.read(each.visual) for each in here]),
        }
        rows = len(here)
        named = self._tokens([_named(each) for each in here])
        unsure = self._tokens([sorted(each.unsure) for each in here])
        batch["shown"] = torch.zeros(rows, len(self.processor.tokens))
        for row, known, unknown in zip(batch["shown"], named, unsure, strict=True):
            row[unknown] = IGNORE_INDEX
            row[known] = 1
        batch["visual"] = torch.arange(rows).repeat(MASKED_TEXTS + 2)
        batch["labels"] = torch.full_like(batch["input_ids"], IGNORE_INDEX)
        self._mask(batch["input_ids"], batch["labels"], named * MASKED_TEXTS, rng)
        batch["matches"] = torch.tensor([IGNORE_INDEX] * len(masked) + [1] * rows + [0] * rows)
        return batch

    def _tokens(self, words: Sequence[Sequence[str]]) -> list[list[int]]:
        """Return the tokens of the words of each image."""
        texts = [" ".join(each) for each in words]
        # not verbose: the limit on a text's length does not apply
        tokens: list[list[int]] = self.processor.tokens(texts, add_special_tokens=False, verbose=False).input_ids
        return tokens

    def _mask(self, ids: torch.Tensor, labels: torch.Tensor, named: Sequence[list[int]], rng: random.Random) -> None:
        """Mask verbs and nouns in place in the first texts, at least one in each.

        They are written to the labels.

        Args:
            ids: texts, (rows, length).
            labels: as `ids`.
            named: tokens of the verbs and nouns of the first texts.
            rng: draws what is masked.
        """
        tokens = self.processor.tokens
        articles = {*tokens("a an the", add_special_tokens=False).input_ids}  # of an action such as "giving a box"
        for row, label, said in zip(ids, labels, named, strict=False):
            words = [place for place, token in enumerate(row.tolist()) if token in {*said} - articles]
            if words:
                chosen = rng.sample(words, max(1, round(self.masked * len(words))))
                label[chosen] = row[chosen]
                row[chosen] = tokens.mask_token_id


def draw_batch(situations: Sequence[Situation], size: int, rng: random.Random) -> list[Situation]:
    """Draw situations, those of one file together: `situations` has them next to each other."""
    chosen = list[Situation]()
    while len(chosen) < size:
        place = rng.randrange(len(situations))
        path = situations[place].visual.path
        start, end = place, place + 1
        while start and situations[start - 1].visual.path == path:
            start -= 1
        while end < len(situations) and situations[end].visual.path == path:
            end += 1
        chosen += situations[start:end]
    return chosen[:size]


def _named(situation: Situation) -> list[str]:
    """Return the verb and the nouns of a situation."""
    return [*filter(None, [situation.verb]), *_nouns(situation)]


def _nouns(situation: Situation) -> list[str]:
    return sorted({*situation.roles.values(), *situation.objects})


def _other(number: int, captions: Sequence[str], shown: Sequence[Situation], rng: random.Random) -> str:
    """Return a caption that does not match the image of this number.

    It is the caption of another image, or the image's own with its verb or a noun replaced by that
    of another image.
    """
    caption, own = captions[number], shown[number]
    others = [place for place, each in enumerate(shown) if not _may_be_of(own, captions[place], each)]
    if not others:
        raise DataError("all captions of a batch may be of one image. Give captions of more different images.")
    other = rng.choice(others)
    here = {*_nouns(own), *own.unsure}
    new = [noun for noun in shown[other].objects if noun not in here]
    changes = [(noun, each) for noun in _nouns(own) if _says(caption, noun) for each in new]
    if _says(caption, own.verb) and shown[other].verb != own.verb:
        changes += [(own.verb, shown[other].verb)] * max(1, len(new))
    if not changes or rng.random() < 0.5:
        return captions[other]
    old, replacement = rng.choice(changes)
    return re.sub(rf"\b{re.escape(old)}\b", lambda _: replacement, caption, count=1)


def _may_be_of(own: Situation, caption: str, other: Situation) -> bool:
    """Return whether the caption of another image may be true of an image."""
    nouns = {noun for noun in _nouns(other) if _says(caption, noun)}
    return nouns <= {*_nouns(own), *own.unsure} and (other.verb == own.verb or not _says(caption, other.verb))


def _says(caption: str, words: str) -> bool:
    """Return whether a caption contains words as a whole: "cart" does not contain "car"."""
    return re.search(rf"\b{re.escape(words)}\b", caption) is not None
