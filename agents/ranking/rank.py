"""Score the captions of one visual by their relevance to a question.

Without a trained head, relevance follows from the cosine similarity of caption and question
(`from_cosine`). A visual with more captions than `LONG` is ranked in two levels: windows of
neighbouring captions by similarity first, then the captions of the best windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from agents.ranking.embeddings import embed
from agents.ranking.features import clip_features, texts_of
from agents.session import Session
from espresso.profiles import LocalRanker

LONG = 512
"""Captions that are ranked at once: eight minutes at one per second."""
WINDOW = 32
"""Captions of a window of the first level."""
PEAKS = 3
"""A window counts by its so many captions that are most similar to the question."""
MARGIN = 1.5
"""Without a head, no frame is picked that is less relevant than the best one by so many standard
deviations."""
SCALE, MIDDLE = 8.0, 0.5
"""Log-odds per unit of cosine similarity, and the similarity at even odds. From 8 to 25 and from
0.3 to 0.5, hits on NExT-GQA differ by a point; only the order of similarities matters much."""


@dataclass(frozen=True)
class Ranking:
    """Captions of one visual, ranked."""

    relevance: np.ndarray
    """Log-odds that a frame shows what is asked, shape (n,); -inf outside of the windows that were
    ranked."""

    margin: float
    """Log-odds below the best frame at which no further frame is worth picking."""

    same: np.ndarray
    """Whether each caption says the same as the one before it (`same_above`), shape (n,)."""

    note: str | None = None
    """What was left out; None if every caption was ranked."""


async def rank(
    question: str, options: Sequence[str], captions: Sequence[str], times: Sequence[float], session: Session
) -> Ranking:
    """Rank the captions of one visual.

    Args:
        question: the question.
        options: the options that are shown with it; empty for an open question.
        captions: at least one caption, in order of time.
        times: their times in seconds.
        session: the session, whose profile has a ranker.

    Raises:
        ModelError: the embedder or the head cannot be loaded, or the embedder cannot be reached.
    """
    ranker, role = session.roles.ranker, session.profile.ranker
    assert ranker, "the profile has a [ranker]"
    assert role, "a ranker that is connected is in the profile"
    head_folder = role.head if isinstance(role, LocalRanker) else None
    vectors = await embed([*captions, question, *(texts_of(question, options) if head_folder else ())], ranker, session.cache)
    embedded = np.stack([vectors[caption] for caption in captions])
    cosine = embedded @ vectors[question]
    same = np.concatenate([[False], (embedded[1:] * embedded[:-1]).sum(1) > role.same_above])
    kept = _best_windows(cosine) if len(captions) > LONG else np.arange(len(captions))
    note = (
        f"{len(kept)} of {len(captions)} captions, those of the best windows, are ranked" if len(kept) < len(captions) else None
    )
    if head_folder is None:
        scores, margin = from_cosine(cosine[kept]), MARGIN * SCALE * float(cosine[kept].std())
    else:
        head = _head(head_folder)
        clip = clip_features(
            question, options, [captions[at] for at in kept.tolist()], [times[at] for at in kept.tolist()], vectors
        )
        scores, margin = head.relevance(clip), head.config.margin
    relevance = np.full(len(captions), -np.inf)
    relevance[kept] = scores
    return Ranking(relevance, margin, same, note)


def from_cosine(similarity: np.ndarray) -> np.ndarray:
    """Return log-odds for the cosine similarities of captions and a question, shape (n,)."""
    log_odds: np.ndarray = SCALE * (similarity - MIDDLE)
    return log_odds


@lru_cache(maxsize=2)
def _head(folder: str):  # type: ignore[no-untyped-def]
    from agents.ranking import head  # noqa: PLC0415 - imports torch

    return head.load(Path(folder))


def _best_windows(cosine: np.ndarray) -> np.ndarray:
    """Return the positions of the captions in the best windows, at most `LONG`, ascending."""
    starts = np.arange(0, len(cosine), WINDOW)
    peaks = [np.sort(cosine[start : start + WINDOW])[-PEAKS:].mean() for start in starts]
    best = np.sort(np.argsort(-np.array(peaks), kind="stable")[: LONG // WINDOW])
    return np.concatenate([np.arange(starts[each], min(starts[each] + WINDOW, len(cosine))) for each in best])
