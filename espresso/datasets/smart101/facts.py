"""What the picture of a generated puzzle shows, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MOST_WORDS = 9
"""Words of the longest value that is used."""


def facts(shown: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts of an instance, thing -> value: {"red": "3", "start": "4"}.

    Things with several values, such as the arrows of one picture, are left out.
    """
    found = all_facts(shown)
    counts = Counter(name for name, _ in found)
    return {name: value for name, value in found if counts[name] == 1}


def all_facts(shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return things and values as `facts`, and those of things with several values."""
    found = [(str(name).lower(), [*_words(value)]) for name, value in _named(shown)]
    return [(name, " ".join(words).lower()) for name, words in found if len(words) <= MOST_WORDS]


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
