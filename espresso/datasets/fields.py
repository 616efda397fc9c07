"""Take values from the fields of a row; a value that is missing or invalid is a ValueError.

The error names the field, and makes the row a bad row. Nothing that is missing becomes text:
neither null and NaN, nor the words that programs write for them.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence

from espresso.datasets.rows import RawRow
from espresso.schema import letter

WORDS_FOR_NOTHING = frozenset({"nan", "null", "<na>", "#n/a"})
"""What pandas, R, SQL and spreadsheets write for a missing value, in lower case. "None" is not
among them: it is the answer to "How many dogs are there?"."""

_LETTER = re.compile(r"\s*\(?([A-Z])\s*[).:]\s*:?\s*")
_INDEX = re.compile(r"-?\d+(?:\.0*)?")


def is_missing(value: object) -> bool:
    """Return whether a value is null, NaN, text without a visible character, or a word for it."""
    if isinstance(value, str):
        return value.strip().lower() in WORDS_FOR_NOTHING or all(unicodedata.category(each)[0] in "CZ" for each in value)
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def text(row: RawRow, field: str) -> str:
    """Return the text of a field without surrounding space; a number is written as text.

    Raises:
        KeyError: there is no such field.
        ValueError: its value is missing or not text.
    """
    return _text(row[field], f"the field {field!r}")


def optional_text(row: RawRow, field: str) -> str:
    """Return the text of a field, or "" if its value is missing or there is no such field.

    Raises:
        ValueError: its value is not text.
    """
    return "" if is_missing(row.get(field)) else text(row, field)


def texts(row: RawRow, field: str) -> tuple[str, ...]:
    """Return the texts of a field that is a list.

    Raises:
        KeyError: there is no such field.
        ValueError: its value is not a list, is empty, or holds a value that is not text.
    """
    values = row[field]
    if is_missing(values) or values == []:
        raise ValueError(f"the field {field!r} is empty")
    if not isinstance(values, list | tuple):
        raise ValueError(f"the field {field!r} is not a list")
    return tuple(_text(value, f"value {number} of the field {field!r}") for number, value in enumerate(values, 1))


def _text(value: object, what: str) -> str:
    if is_missing(value):
        raise ValueError(f"{what} is empty")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{what} is not text")
    return str(value).strip()


# Options and answers


def split_letters(options: Sequence[str]) -> dict[str, str]:
    """Return options by letter, without their own letters: "(A): red", "A. red" or "A) red".

    Raises:
        ValueError: an option is a letter without a text.
    """
    starts = [_LETTER.match(option) for option in options]
    lettered = all(start and start[1] == letter(number) for number, start in enumerate(starts))
    split = [option[start.end() :] if lettered and start else option for option, start in zip(options, starts, strict=True)]
    return {letter(number): _text(option, f"option {letter(number)}") for number, option in enumerate(split)}


def by_letter(options: Mapping[str, str], row: RawRow, field: str) -> str:
    """Return the option that a field names by its letter: "B", "(B)" or "B.".

    Raises:
        KeyError: there is no such field.
        ValueError: its value is missing, or there is no such option.
    """
    written = text(row, field)
    if (key := written.strip("().: ").upper()) not in options:
        raise ValueError(f"the field {field!r} is {written!r}, but the options are {', '.join(options)}")
    return options[key]


def by_index(options: Sequence[str], row: RawRow, field: str) -> str:
    """Return the option that a field names by its index, from 0: 2, "2" or 2.0.

    Raises:
        KeyError: there is no such field.
        ValueError: its value is missing, or there is no such option. -1 stands for a hidden label.
    """
    written = text(row, field)
    index = int(written.partition(".")[0]) if _INDEX.fullmatch(written) else None
    if index is None or not 0 <= index < len(options):
        hidden = ", as in files whose labels are hidden" if index == -1 else ""
        raise ValueError(f"the field {field!r} is {written}{hidden}, but the options are 0 to {len(options) - 1}")
    return options[index]
