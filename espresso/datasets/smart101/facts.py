"""What the picture of a generated puzzle shows, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MOST_WORDS = 10
"""Longest fact that is used."""


def facts(shown: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts of an instance, thing -> value: {"red": "3", "start": "4"}.

    Things with several values, such as the arrows of one picture, are left out.
    """
    phrases = [(str(name).lower(), [*_words(value)]) for name, value in _named(shown)]
    counts = Counter(name for name, _ in phrases)
    return {name: " ".join(words).lower() for name, words in phrases if counts[name] == 1 and len(words) < MOST_WORDS}


def _named(shown: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the facts by name; each item of a list of tuples is one, such as an arrow."""
    for name, value in shown.items():
        if isinstance(value, Mapping):
            yield from value.items()
        elif isinstance(value, list) and isinstance(value[0], tuple):
            yield from ((name, each) for each in value)
        else:
            yield name, value


def _words(value: Any) -> Iterator[str]:
    """Yield the words of a fact; a word in capitals is shown as letters."""
    if isinstance(value, Sequence) and (not isinstance(value, str) or (value.isupper() and len(value) > 1)):
        for each in value:
            yield from _words(each)
    else:
        yield str(value)
