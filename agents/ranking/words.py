"""Words of a question and of captions: parts of a question, lexical overlap and BM25."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_STOP_WORDS = """
a an the is are was were be been do does did of to in on at and or with his her their its it he she they them him me
this that there some what why how where who which after before when while as by for from into out up down one two
other another image frame video appears shows showcases scene
"""
_STOP = frozenset(_STOP_WORDS.split())
_SPLIT = re.compile(
    r"\b(before|after|when|while|as|once|until|then|during"
    r"|(?:at|in|near|towards?) the (?:end|start|beginning|middle))\b"
)
_LEAST_MAIN = 8
"""Letters before a temporal word below which it does not split a question ("when did ...")."""
INDICATORS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\bafter\b", r"\bbefore\b", r"\bwhen\b|\bonce\b", r"\bwhile\b|\bas\b|\bduring\b", r"\bend(ing)?\b|\bfinally\b",
        r"\bstart\b|\bbeginning\b|\bat first\b", r"\bmiddle\b", r"^why\b", r"^how\b", r"^what\b", r"^where\b", r"^who\b",
        r"\bfeel|\breact|\brespon",
    )
)  # fmt: skip
"""What a question says about time, and how it starts."""
_K1, _B = 1.2, 0.75


@dataclass(frozen=True)
class Parts:
    """A question in two parts: what is asked, and the event that it is placed by."""

    main: str
    """"what does the girl do" of "what does the girl do after the boy fell"; all of the question if
    there is no temporal word."""

    anchor: str
    """"the boy fell"; empty if there is none."""


def split(question: str) -> Parts:
    """Split a question at its first temporal word."""
    lowered = question.lower()
    for match in _SPLIT.finditer(lowered):
        if match.start() > _LEAST_MAIN:
            return Parts(question[: match.start()].strip(), question[match.end() :].strip())
    return Parts(question, "")


def indicators(question: str) -> list[float]:
    """Return whether the question matches each of `INDICATORS`, and whether it has an anchor."""
    lowered = question.lower().strip()
    return [float(bool(pattern.search(lowered))) for pattern in INDICATORS] + [float(bool(split(question).anchor))]


@lru_cache(maxsize=20_000)
def stems(text: str) -> tuple[str, ...]:
    """Return the content words of a text without their endings."""
    return tuple(_stem(word) for word in re.findall(r"[^\W\d_]+", text.lower()) if word not in _STOP)


@lru_cache(maxsize=20_000)
def _counts(text: str) -> Counter[str]:
    return Counter(stems(text))


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou" else word


def bm25(query: str, captions: Sequence[str]) -> np.ndarray:
    """Score captions by BM25 (Robertson and Zaragoza, 2009) over the captions of one visual.

    Returns:
        One score per caption, shape (n,).
    """
    counts = [_counts(caption) for caption in captions]
    lengths = np.array([sum(count.values()) for count in counts], dtype=float)
    norm = _K1 * (1 - _B + _B * lengths / (lengths.mean() or 1.0))
    scores = np.zeros(len(captions))
    for word in set(stems(query)):
        frequency = np.array([count[word] for count in counts], dtype=float)
        if found := int((frequency > 0).sum()):
            rarity = math.log(1 + (len(captions) - found + 0.5) / (found + 0.5))
            scores += rarity * frequency * (_K1 + 1) / (frequency + norm)
    return scores


def overlap(query: str, captions: Sequence[str]) -> np.ndarray:
    """Return the share of the query's content words in each caption, shape (n,)."""
    words = set(stems(query))
    return np.array([len(words & _counts(caption).keys()) / max(1, len(words)) for caption in captions])
