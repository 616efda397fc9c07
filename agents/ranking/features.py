"""Features of captions with regard to a question, for the trained selector.

Similarities of each caption to the question, to its two parts around a temporal word, and to the
options; lexical overlap; how much the caption differs from its neighbours and from all others;
position; and what the question says about time. Similarities occur as they are and standardized
within the visual: what counts is how a caption compares with the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from agents.ranking.pick import duration
from agents.ranking.words import INDICATORS, bm25, indicators, overlap, split

_WIDTHS = {"question": 12, "options": 12, "change": 5, "position": 7, "indicators": len(INDICATORS) + 1, "has options": 1}
FEATURES = sum(_WIDTHS.values())
"""Number of features per caption."""
COLUMNS = {
    name: slice(end - width, end) for (name, width), end in zip(_WIDTHS.items(), accumulate(_WIDTHS.values()), strict=True)
}
"""Group of features -> its columns. Those of the options are zero if the question has none."""


@dataclass(frozen=True)
class ClipFeatures:
    """What a trained selector reads about a question and a visual."""

    products: np.ndarray
    """Products of the embeddings of each caption and the question, (n, width), float32."""

    features: np.ndarray
    """Features per caption, (n, FEATURES), float32."""


def texts_of(question: str, options: Sequence[str]) -> list[str]:
    """Return the texts whose embeddings `clip_features` needs besides the captions'."""
    parts = split(question)
    return [question, parts.main, *([parts.anchor] if parts.anchor else []), *options, *_joined(question, options)]


def clip_features(
    question: str, options: Sequence[str], captions: Sequence[str], times: Sequence[float], vectors: Mapping[str, np.ndarray]
) -> ClipFeatures:
    """Compute the features of the captions of one visual.

    Args:
        question: the question.
        options: the options shown with it; empty for an open question.
        captions: the captions in order of time.
        times: their times in seconds.
        vectors: unit vectors of the captions and of `texts_of`.
    """
    parts, count = split(question), len(captions)
    embedded = np.stack([vectors[caption] for caption in captions])
    asked, main = vectors[question], vectors[parts.main]
    anchor = vectors[parts.anchor] if parts.anchor else asked
    similarities = [
        2 * (embedded @ asked), 2 * (embedded @ main), 2 * (embedded @ anchor), bm25(question, captions) / 5,
        overlap(question, captions), bm25(parts.anchor or question, captions) / 5,
    ]  # fmt: skip
    joined = _joined(question, options)
    to_options = [np.zeros(count)] * (_WIDTHS["options"] // 2)
    if joined:
        each = embedded @ np.stack([vectors[option] for option in options]).T
        words = [bm25(option, captions) / 5 for option in options]
        to_options = [
            2 * (embedded @ vectors[joined[0]]), 2 * each.max(1), 2 * each.mean(1), 2 * each.std(1),
            np.max(words, 0), np.mean(words, 0),
        ]  # fmt: skip
    before = np.concatenate([[0.0], 1 - (embedded[1:] * embedded[:-1]).sum(1)])
    mean = embedded.mean(0)
    apart = 1 - embedded @ (mean / max(float(np.linalg.norm(mean)), 1e-12))
    change = [3 * before, standardized(before), 3 * np.append(before[1:], 0.0), 3 * apart, standardized(apart)]
    columns = [
        *(column for values in similarities for column in (values, standardized(values))),
        *(column for values in to_options for column in (values, standardized(values))),
        *change,
        *_position(np.asarray(times, dtype=float)),
        *(np.full(count, value) for value in (*indicators(question), float(bool(joined)))),
    ]
    return ClipFeatures((embedded * asked).astype(np.float32), np.stack(columns, 1).astype(np.float32))


def _joined(question: str, options: Sequence[str]) -> list[str]:
    """Return question and options as one text, or nothing without options."""
    return [f"{question} {', '.join(options)}"] if options else []


def standardized(values: np.ndarray) -> np.ndarray:
    """Return values with mean 0 and standard deviation 1, shape (n,); zeros for equal values."""
    deviation = float(values.std())
    result: np.ndarray = (values - values.mean()) / deviation if deviation > 1e-6 else np.zeros_like(values)
    return result


def _position(times: np.ndarray) -> list[np.ndarray]:
    """Return functions of the position in the visual, 0 to 1, and of the number of captions."""
    length = duration(times)
    share = np.clip((times - times[0] + length / len(times) / 2) / length, 0, 1)
    return [
        share, share**2, np.sin(np.pi * share), np.sin(2 * np.pi * share), np.cos(2 * np.pi * share),
        np.minimum(share, 1 - share), np.full(len(times), math.log(len(times)) / 4),
    ]  # fmt: skip
