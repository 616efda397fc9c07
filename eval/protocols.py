"""How a question with options is put, and which of them a reply comes down to.

- `choice`: the reasoner chooses one, by log-probability: nothing it says has to be interpreted.
- `written`: the options are listed in the question and the reply is written freely, as for the leaderboard. Scored twice:
  `strict` takes a reply that names one letter or option and nothing else; the authors' own rule takes the first letter A to D
  anywhere, so that "Answer: B" counts as A.
- `open`: the options are not shown; the free answer is embedded and comes down to the option nearest to it, the reference or one
  of the distractors (VideoEspresso, section 5.1 and Table 1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from espresso.models.embedder import Embedder
from espresso.schema import Question, letter

Protocol = Literal["choice", "written", "open"]

_NAMED = re.compile(
    r"(?:the )?(?:correct )?(?:answer|option)?(?: is)?[\s:]*\(?([A-Z])\)?\s*(?:[.:)]|$)\s*(.*)", re.IGNORECASE | re.DOTALL
)


def asked(question: Question, protocol: Protocol) -> Question:
    """The question as it is put to the graph: its options to be chosen from, written out, or not shown."""
    if protocol == "choice" or not question.options:
        return question
    if protocol == "open":
        return question.model_copy(update={"options": None})
    listed = [f"({letter(number)}) {option}" for number, option in enumerate(question.options)]
    text = "\n".join([question.text, *listed, "Reply with the letter of the right option only."])
    return question.model_copy(update={"options": None, "text": text})


def strict(reply: str, options: Sequence[str]) -> str | None:
    """The option that a written reply names: its letter ("B", "(B)", "Answer: B. it stops") or its text; None for any other."""
    said = reply.strip()
    if named := next((option for option in options if _plain(option) == _plain(said)), None):
        return named
    lettered: Mapping[str, str] = {letter(number): option for number, option in enumerate(options)}
    found = _NAMED.fullmatch(said)
    option = lettered.get(found[1].upper()) if found else None
    return option if found and option and _plain(found[2]) in ("", _plain(option)) else None


def official(reply: str, options: Sequence[str]) -> str | None:
    """The option of the first letter A to D anywhere in a reply, as the script of VideoEspresso's authors takes it."""
    found = re.search("[A-D]", reply)
    number = ord(found[0]) - ord("A") if found else len(options)
    return options[number] if number < len(options) else None


async def nearest(reply: str, options: Sequence[str], embedder: Embedder) -> str:
    """The option whose meaning is nearest to a free answer's, by cosine. Raises ModelError."""
    if same := next((option for option in options if _plain(option) == _plain(reply)), None):
        return same
    said, *known = await embedder.embed([reply, *options])
    return max(zip(options, known, strict=True), key=lambda each: float(each[1] @ said))[0]


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".")
