"""Train a selector's head: `espresso finetune selector CONFIG`.

The embedder is frozen and its embeddings are cached, so training takes minutes on two cores; an
interrupted call repeats the training, but no embedding. The result is a folder with config and
weights; name it as `head` in [ranker] of a profile.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from agents.ranking import head
from agents.ranking.head import Head, HeadConfig
from espresso.cache import Cache
from espresso.datasets.nextqa import nextgqa
from espresso.datasets.nextqa.nextgqa import CaptionedQuestions
from espresso.files import replace_folder
from espresso.models.embedder import TransformersEmbedder
from espresso.profiles import LocalEmbedder
from finetune.checkpoints import writing
from finetune.install import check_output
from finetune.selector.config import SelectorConfig
from finetune.selector.data import Example, collate, make_examples

WARM_UP = 20
"""Steps with a rising learning rate."""
LEAST_CAPTIONS = 8
"""A clip keeps so many captions when it is cropped."""
Progress = Callable[[str, int, int], None]


async def load_examples(config: SelectorConfig, on_progress: Progress) -> tuple[list[Example], CaptionedQuestions]:
    """Load the data of a config and compute its features.

    Raises:
        DataError: the data cannot be read.
        ModelError: the embedder cannot be loaded.
    """
    loaded = nextgqa.load(config.data)
    embedder = TransformersEmbedder(LocalEmbedder(backend="transformers", model=config.embedder, download="0.1 GB"))
    cache = Cache()
    try:
        return await make_examples(loaded.questions, embedder, cache, on_progress), loaded
    finally:
        cache.close()
        embedder.close()


def save(trained: Head, config: SelectorConfig) -> None:
    """Write the head to the output folder; its README.md is kept.

    Raises DataError if the folder cannot be written, or is one of a shipped profile.
    """
    check_output(config.output)
    part = config.output.with_name(config.output.name + ".part")
    with writing(config.output, "the selector"):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        head.save(trained, part)
        replace_folder(part, config.output, keep=("README.md",))


def fit(examples: Sequence[Example], config: SelectorConfig, on_progress: Progress) -> Head:
    """Train a head. The same examples, config and machine give the same weights.

    Args:
        examples: the questions to train on.
        config: architecture and training.
        on_progress: called with what is done, the number of finished steps and of all.
    """
    examples = [each for each in examples if each.inside.any()]
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    width = examples[0].with_options.products.shape[1]
    trained = Head(
        HeadConfig(
            embedder=config.embedder, width=width, members=config.members, hidden=config.hidden, projection=config.projection,
            dropout=config.dropout, margin=config.margin,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(trained.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    steps = math.ceil(len(examples) / config.batch) * config.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    trained.train()
    for _ in range(config.epochs):
        for chosen_rows in _batches(examples, config.batch, rng):
            on_progress("training", schedule.last_epoch, steps)
            chosen = [examples[row] for row in chosen_rows]
            batch = collate(
                chosen,
                options=(rng.random(len(chosen)) >= config.without_options).tolist(),
                keep=[_crop(each.inside, config.crop, rng) for each in chosen],
            )
            scores = trained(batch.products, batch.features, batch.mask.sum(1).long())
            optimizer.zero_grad()
            loss(scores, batch.inside, batch.mask, config.loss).backward()
            torch.nn.utils.clip_grad_norm_(trained.parameters(), math.sqrt(config.members))
            optimizer.step()
            schedule.step()
    on_progress("training", steps, steps)
    return trained.eval()


def loss(scores: torch.Tensor, inside: torch.Tensor, mask: torch.Tensor, kind: str) -> torch.Tensor:
    """Return the loss summed over members: each learns as if it were alone.

    Args:
        scores: log-odds, (members, batch, captions).
        inside: 1 for captions inside a true span, (batch, captions).
        mask: 1 for captions, 0 for padding, (batch, captions).
        kind: see `SelectorConfig.loss`.
    """
    lowest = torch.finfo(scores.dtype).min
    everything = torch.logsumexp(scores.masked_fill(mask == 0, lowest), -1)
    right = torch.logsumexp(scores.masked_fill(inside == 0, lowest), -1)
    listwise = everything - right
    each = functional.binary_cross_entropy_with_logits(scores, inside.expand_as(scores), reduction="none")
    contrastive = (each * mask).sum(-1) / mask.sum(-1)
    total = {"listwise": listwise, "contrastive": contrastive, "both": listwise + contrastive}[kind]
    return total.mean(1).sum()


def _batches(examples: Sequence[Example], size: int, rng: np.random.Generator) -> list[list[int]]:
    """Return the examples in batches of similar lengths, in a new order."""
    lengths = np.array([len(each.inside) for each in examples]) * np.exp(rng.normal(scale=0.25, size=len(examples)))
    order = np.argsort(lengths).tolist()
    batches = [order[first : first + size] for first in range(0, len(order), size)]
    rng.shuffle(batches)
    return batches


def _crop(inside: np.ndarray, most: float, rng: np.random.Generator) -> np.ndarray | None:
    """Return the positions that a clip keeps; None if it keeps all.

    Half of the crops keep one stretch of the clip, half keep captions from all over it.
    """
    left = max(LEAST_CAPTIONS, round(len(inside) * (1 - most * rng.random())))
    if left >= len(inside):
        return None
    if rng.random() < 0.5:
        kept = np.arange(left) + rng.integers(len(inside) - left + 1)
    else:
        kept = np.sort(rng.choice(len(inside), left, replace=False))
    return kept if inside[kept].any() else None
