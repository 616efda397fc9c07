"""Embed texts with the profile's ranker, each text once: the cache keeps the embeddings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from hashlib import sha256

import numpy as np

from espresso.cache import Cache, EmbeddingKey
from espresso.models.embedder import Embedder

BATCH = 32
"""Texts that are embedded at once; sorted by length, so that a batch has little padding."""
WORDS = 150
"""Longest text in words that an embedder reads at once: about 200 tokens, which all of them take.
The embedding of a longer text is the mean of its parts, so nothing is cut off."""


async def embed(texts: Iterable[str], embedder: Embedder, cache: Cache | None) -> dict[str, np.ndarray]:
    """Return the unit vector of each text.

    Raises ModelError if the embedder cannot be loaded or reached.
    """
    keys = {text: EmbeddingKey(embedder.name, sha256(text.encode()).hexdigest()) for text in dict.fromkeys(texts)}
    cached = await asyncio.to_thread(cache.embeddings, list(keys.values())) if cache else {}
    vectors = {text: cached[key] for text, key in keys.items() if key in cached}
    missing = sorted((text for text in keys if text not in vectors), key=len)
    parts = {text: _parts(text) for text in missing}
    flat = [part for text in missing for part in parts[text]]
    embedded = [await embedder.embed(flat[first : first + BATCH]) for first in range(0, len(flat), BATCH)]
    rows = iter(np.concatenate(embedded)) if embedded else iter(())
    new = {text: _unit(np.mean([next(rows) for _ in parts[text]], axis=0)) for text in missing}
    if cache and new:
        await asyncio.to_thread(cache.put_embeddings, {keys[text]: vector for text, vector in new.items()})
    return vectors | new


def _parts(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[first : first + WORDS]) for first in range(0, len(words), WORDS)] if len(words) > WORDS else [text]


def _unit(vector: np.ndarray) -> np.ndarray:
    """Return a unit vector, rounded as the cache stores it: a second run gives the same result."""
    unit: np.ndarray = (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float16).astype(np.float32)
    return unit
