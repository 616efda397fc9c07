"""How a question is shown, and which option a reply names.

- `choice`: the reasoner chooses an option by log-probability, so no reply has to be interpreted.
- `written`: the options are listed in the question and the reply is free text, as for the
  leaderboard. It is scored twice: `strict_option` accepts a reply that names one letter or option
  and nothing else; the rule of VideoEspresso's authors (`first_letter_option`) takes the first
  letter A to D anywhere, so "Answer: B" counts as A.
- `open`: the options are not shown. The free answer is embedded and matched with the nearest
  option, which is the reference or a distractor (VideoEspresso, section 5.1 and Table 1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from espresso.models.embedder import Embedder
from espresso.options import Protocol
from espresso.schema import Question, letter

_LEAD = re.compile(
    r"(?:the\s+)?(?:(?:correct|right|best)\s+)?(?:(?:answer|option|choice)\b)?(?:\s+is\b)?\s*[:\-]?\s*(?:option\s+)?",
    re.IGNORECASE,
)
"""What may stand before the letter: "The correct answer is", "Option", "Answer:"."""
_LETTER = re.compile(r"\(?([A-Z])\)?(?![A-Za-z0-9])[\s.:)\-]*", re.IGNORECASE)
_IS_CORRECT = re.compile(r"is (?:the )?(?:correct|right|best)(?: (?:answer|option|choice|one))?", re.IGNORECASE)


def apply_protocol(question: Question, protocol: Protocol) -> Question:
    """Return the question as a protocol shows it: with options, or without."""
    return question.model_copy(update={"options": None}) if protocol == "open" else question


def option_order(question: Question, seed: int) -> tuple[int, ...]:
    """Return the positions of the options in the order to show them, by seed and question."""
    return tuple(question_rng(question, seed).permutation(len(question.options or ())).tolist())


def question_rng(question: Question, seed: int) -> np.random.Generator:
    """Return the random generator of a question: the same for the same seed and question."""
    return np.random.default_rng([seed, int.from_bytes(sha256(question.id.encode()).digest()[:8])])


def strict_option(reply: str, options: Sequence[str]) -> str | None:
    """Return the option that a written reply names, or None.

    The reply may name its letter ("B", "**B**", "(B)", "Answer: B.", "Option B is correct."), its
    text, or both ("(B) it stops"), and nothing else.
    """
    text = re.sub(r"[*_`\"]", "", reply).strip()
    if named := next((option for option in options if _normalized(option) == _normalized(text)), None):
        return named
    match = _LETTER.match(text, _LEAD.match(text).end())  # type: ignore[union-attr]  # the lead may be empty
    if not match:
        return None
    option = dict(zip(map(letter, range(len(options))), options, strict=True)).get(match[1].upper())
    rest = text[match.end() :].rstrip(" .")
    names_it = not rest or _IS_CORRECT.fullmatch(rest) or (option is not None and _normalized(rest) == _normalized(option))
    return option if names_it else None


def first_letter_option(reply: str, options: Sequence[str]) -> str | None:
    """Return the option of the first letter A to D in a reply, the rule of the authors' script."""
    match = re.search("[A-D]", reply)
    number = ord(match[0]) - ord("A") if match else len(options)
    return options[number] if number < len(options) else None


async def nearest_option(reply: str, options: Sequence[str], embedder: Embedder) -> str:
    """Return the option nearest in meaning to a free answer, by cosine similarity.

    Raises ModelError.
    """
    if same := next((option for option in options if _normalized(option) == _normalized(reply)), None):
        return same
    vector, *vectors = await embedder.embed([reply, *options])
    return max(zip(options, vectors, strict=True), key=lambda each: float(each[1] @ vector))[0]


def _normalized(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".")
