"""The evidence for the answer to a generated puzzle: values of things that its picture shows.

It has up to six things, first those that the question names: "shown: orange3, blue5, green1.". A
thing with several values, as an arrow, is said if there is no other: "shown: arrows b e, arrows d
a.".

A number follows its name without a space, which the tokenizer of the tiny reasoner would make a
token of its own. So the number is predicted at the token of the name, from which the language model
finds the thing in the picture. The word in front makes the first name the same token as the others.
With spaces, the reasoner learned to read numbers much slower (docs/LOG.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from espresso.datasets.smart101.facts import all_facts, facts
from espresso.schema import Answer, Question

MOST_THINGS = 6
"""Things in the evidence, so that it stays short where many are drawn, as on a board of letters."""

_EVIDENCE = re.compile(r"shown: (.+)\.")


def evidence_of(question: str, shown: Mapping[str, Any]) -> str:
    """Return the true evidence.

    Args:
        question: the text of the question. A name of one letter is not looked for, as it may be an
            article there.
        shown: the facts of the puzzle's instance.
    """
    found = sorted(facts(shown).items()) or all_facts(shown)
    asked = {name for name, _ in found if len(name) > 1 and re.search(rf"\b{re.escape(name)}\b", question, re.IGNORECASE)}
    found.sort(key=lambda each: each[0] not in asked)
    return "shown: " + ", ".join(said(name, value) for name, value in found[:MOST_THINGS]) + "."


def said(name: str, value: str) -> str:
    """Return how evidence says the value of a thing: "orange3", "pattern green red"."""
    return f"{name}{value}" if value[0].isdigit() or value[0] == "-" else f"{name} {value}"


def true_facts(question: Question, answer: Answer) -> tuple[bool, ...]:
    """Return whether each fact in an answer's evidence is one of the true evidence.

    Args:
        question: a question about a puzzle, with its ground truth if that is known.
        answer: an answer to it.

    Returns:
        One value per fact; empty without ground truth, or if the evidence has another form.
    """
    known, given = _facts(question.truth.evidence) if question.truth else (), _facts(answer.evidence.text)
    return tuple(fact in known for fact in given) if known else ()


def _facts(text: str) -> tuple[str, ...]:
    found = _EVIDENCE.fullmatch(text.strip())
    return tuple(found[1].split(", ")) if found else ()
