"""Answers as numbers, as a classifier predicts them (`get_val` in `utils.py` of the authors' code).

The value of most answers is one integer. The answers of six puzzles are sequences of up to ten.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Value = tuple[int, ...]
"""The value of an answer: one integer, or the steps of a sequence."""

SEQUENCES = frozenset({16, 18, 35, 39, 63, 100})
"""Puzzles whose answers are sequences (`SEQ_PUZZLES` in `globvars.py`)."""

STEPS = 10
"""The most steps of a sequence (`MAX_DECODE_STEPS` in `globvars.py`)."""

SIGNS = "+-x/"
"""Operators of puzzle 58, in the order of their values 1 to 4."""

OPERATORS, CLOCK, ICONS = 58, 25, 1
"""Puzzles with rules of their own."""

_NUMBER = re.compile(r"(-?\d+)(?:\s*(?:hours?|cm|km))?")
_TIME = re.compile(r"(\d{1,2}):00(?: ([AP]M))?")


def value_of(puzzle: int, written: str, icons: Sequence[str] = ()) -> Value:
    """Return the value of an answer or an option.

    An integer is itself and a letter its place in the alphabet, from 0. Units are left out, and
    "Impossible" is 0.

    Args:
        puzzle: id of the root puzzle.
        written: the text of the answer.
        icons: the names of `icon-classes.txt`, in its order; puzzle 1 needs them.

    Raises:
        ValueError: the text has no value.
    """
    if puzzle in SEQUENCES:
        value = _steps(puzzle, written)
    elif puzzle == OPERATORS:
        known = written[:1] in SIGNS and written[1:].isdecimal()
        value = ((SIGNS.index(written[0]) + 1) * 10 + int(written[1:]),) if known else ()
    elif puzzle == CLOCK:
        time = _TIME.fullmatch(written)
        value = (int(time[1]) + 12 * (time[2] == "PM"),) if time else ()
    else:
        value = _one(written)
        if puzzle == ICONS and not value:
            value = _icon(written, icons)
    if not value:
        raise ValueError(f"the answer {written!r} of puzzle {puzzle} has no value")
    return value


def _steps(puzzle: int, written: str) -> Value:
    """Return the steps of a sequence, or nothing if there are none or too many."""
    numbers = re.findall(r"\d+", written) if puzzle in (16, 18, 63) else []
    letters = [] if puzzle in (16, 18, 63) else re.findall(r"[A-Z]", written)
    steps = (*map(int, numbers), *map(_letter, letters))
    return steps if len(steps) <= STEPS else ()


def _one(written: str) -> Value:
    if match := _NUMBER.fullmatch(written):
        return (int(match[1]),)
    if len(written) == 1 and written.isascii() and written.isalpha():
        return (_letter(written),)
    return (0,) if written == "Impossible" else ()


def _icon(written: str, icons: Sequence[str]) -> Value:
    if not icons:
        raise ValueError("the value of an icon is its place in icon-classes.txt, which is not next to the index")
    name = written.replace(" ", "_")
    return next(((icons.index(each),) for each in (name, f"{name}s") if each in icons), ())


def _letter(letter: str) -> int:
    return ord(letter) - ord("A")
