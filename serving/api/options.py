"""Find the options of a multiple-choice question in its text.

Evaluation harnesses write them as lettered lines:

    What hits the blue square?
    A. the red circle
    B. the green star
    Answer with the option's letter from the given choices directly.

The lines before are the question. What follows the options asks for a form of the answer and is
left out: the reply is the letter.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from agents.ask import MAX_OPTIONS
from espresso.schema import letter

_LETTERED = re.compile(r"\s*(?:\(([A-Z])\)|([A-Z])[.):])\s+(\S.*?)\s*")
"""A line such as "A. text", "A) text", "A: text" or "(A) text"."""


class Lettered(NamedTuple):
    """A question and its options."""

    text: str
    """The question, without options."""

    options: tuple[str, ...]
    """The options in their order, without letters."""


def split_options(text: str) -> Lettered | None:
    """Split a text into the question and its lettered options.

    Args:
        text: the question, then two or more consecutive lines with the letters A, B and so on.

    Returns:
        None if there are no such lines, no question before them, or equal options.
    """
    lines = text.splitlines()
    for start, line in enumerate(lines):
        if (first := _LETTERED.fullmatch(line)) and (first[1] or first[2]) == "A":
            options = []
            for number, other in enumerate(lines[start : start + MAX_OPTIONS]):
                match = _LETTERED.fullmatch(other)
                if not match or (match[1] or match[2]) != letter(number):
                    break
                options.append(match[3])
            question = "\n".join(lines[:start]).strip()
            if question and len(options) >= 2 and len(set(options)) == len(options):
                return Lettered(question, tuple(options))
    return None
