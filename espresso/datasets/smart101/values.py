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
    fault = ValueError(f"the answer {written!r} of puzzle {puzzle} has no value")
    if puzzle in SEQUENCES:
        parts = re.findall(r"\d+", written) if puzzle in (16, 18, 63) else re.findall(r"[A-Z]", re.sub("and|or", "", written))
        if not parts or len(parts) > STEPS:
            raise fault
        return tuple(int(part) if part.isdecimal() else _letter(part) for part in parts)
    if puzzle == OPERATORS:
        if written[:1] not in SIGNS or not written[1:].isdecimal():
            raise fault
        return ((SIGNS.index(written[0]) + 1) * 10 + int(written[1:]),)
    if puzzle == CLOCK:
        if not (time := _TIME.fullmatch(written)):
            raise fault
        return (int(time[1]) + 12 * (time[2] == "PM"),)
    if match := _NUMBER.fullmatch(written):
        return (int(match[1]),)
    if len(written) == 1 and written.isascii() and written.isalpha():
        return (_letter(written),)
    if written == "Impossible":
        return (0,)
    if puzzle == ICONS:
        name = written.replace(" ", "_")
        if not icons:
            raise ValueError("the value of an icon is its place in icon-classes.txt, which is not next to the index")
        for each in (name, f"{name}s"):
            if each in icons:
                return (icons.index(each),)
    raise fault


def _letter(letter: str) -> int:
    return ord(letter) - ord("A")
