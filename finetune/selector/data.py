"""Training data of a selector: the features of every question with and without its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from agents.ranking.embeddings import BATCH, embed
from agents.ranking.features import ClipFeatures, clip_features, texts_of
from espresso.cache import Cache
from espresso.datasets.nextqa.nextgqa import CaptionedQuestion
from espresso.models.embedder import Embedder

CHUNK = 20 * BATCH
"""Texts embedded between two reports of progress."""


@dataclass(frozen=True)
class Example:
    """A question to train on."""

    question: CaptionedQuestion

    with_options: ClipFeatures
    without_options: ClipFeatures

    inside: np.ndarray
    """1 for captions inside a true span, else 0, shape (n,), float32."""


async def make_examples(
    questions: Sequence[CaptionedQuestion], embedder: Embedder, cache: Cache, on_progress: Callable[[str, int, int], None]
) -> list[Example]:
    """Embed captions, questions and options, and compute features.

    Args:
        questions: the questions.
        embedder: the frozen embedder.
        cache: keeps the embeddings, so an interrupted call continues where it was.
        on_progress: called with what is done, the number of finished items and of all.

    Raises ModelError if the embedder cannot be loaded.
    """
    needed = {text for each in questions for text in (*each.captions, *texts_of(each.question, each.options))}
    needed |= {text for each in questions for text in texts_of(each.question, ())}
    texts, vectors = sorted(needed, key=len), dict[str, np.ndarray]()
    for first in range(0, len(texts), CHUNK):
        on_progress("embedding", first, len(texts))
        vectors |= await embed(texts[first : first + CHUNK], embedder, cache)
    on_progress("embedding", len(texts), len(texts))

    def features(each: CaptionedQuestion, options: Sequence[str]) -> ClipFeatures:
        return clip_features(each.question, options, each.captions, each.times, vectors)

    examples = []
    for done, each in enumerate(questions):
        on_progress("computing features", done, len(questions))
        inside = np.isin(np.arange(len(each.captions)), list(each.relevant)).astype(np.float32)
        examples.append(Example(each, features(each, each.options), features(each, ()), inside))
    return examples


@dataclass(frozen=True)
class Batch:
    """Questions padded to the same number of captions."""

    products: torch.Tensor
    """(batch, captions, width)"""
    features: torch.Tensor
    """(batch, captions, features)"""
    inside: torch.Tensor
    """1 for captions inside a true span, (batch, captions)."""
    mask: torch.Tensor
    """1 for captions, 0 for padding, (batch, captions)."""


def collate(examples: Sequence[Example], *, options: Sequence[bool], keep: Sequence[np.ndarray | None] | None = None) -> Batch:
    """Pad examples to a batch.

    Args:
        examples: the examples.
        options: whether each is shown with its options.
        keep: positions of the captions that each keeps; None keeps all.
    """
    clips = [each.with_options if shown else each.without_options for each, shown in zip(examples, options, strict=True)]
    kept = keep or [None] * len(examples)
    rows = [slice(None) if positions is None else positions for positions in kept]

    def pad(arrays: Sequence[np.ndarray]) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(array) for array in arrays], batch_first=True)

    return Batch(
        products=pad([clip.products[row] for clip, row in zip(clips, rows, strict=True)]),
        features=pad([clip.features[row] for clip, row in zip(clips, rows, strict=True)]),
        inside=pad([each.inside[row] for each, row in zip(examples, rows, strict=True)]),
        mask=pad([np.ones_like(each.inside[row]) for each, row in zip(examples, rows, strict=True)]),
    )
