"""Training examples of an LVLM: puzzles, with what a generated picture shows as evidence.

The evidence says the values of up to six things, first of those that the question names: "shown:
orange3, blue5, green1.". A thing with several values, as an arrow, is said if there is no other:
"shown: arrows b e, arrows d a.". The answer is the text of the correct option.

A number follows its name without a space, which the tokenizer of the tiny reasoner would make a
token of its own. The number is then predicted at the token of the name, from which the language
model finds the thing in the picture. The word in front makes the first name the same token as the
others. With spaces, half as many numbers were right after the same training (docs/LOG.md).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from espresso.datasets.base import Example, LoadedExamples
from espresso.datasets.frames import VideoFrame
from espresso.datasets.rows import BadRow
from espresso.datasets.smart101 import data
from espresso.datasets.smart101.facts import all_facts, facts
from espresso.datasets.smart101.puzzles import PUZZLES, instance
from espresso.errors import DataError

MOST_THINGS = 6
"""Things in the evidence, so that it stays short where many are drawn, as on a board of letters."""


def examples(
    split: Literal["train", "val"],
    count: int | None,
    *,
    folder: Path | None = None,
    evidence: bool = True,
    only: Collection[int] = tuple(PUZZLES),
) -> LoadedExamples:
    """Return examples of the instance split, the root puzzles in turn.

    Args:
        split: "train" or "val".
        count: number of puzzles; None is all.
        folder: the puzzles as published, which have no evidence; None generates them.
        evidence: whether evidence is required.
        only: root puzzles to generate.

    Raises:
        DataError: the folder cannot be read, the images cannot be written to the cache, or evidence
            is required of published puzzles.
    """
    if folder and evidence:
        raise DataError(f"{folder}: published puzzles have no evidence. Set `evidence: none` in the section `answer`.")
    loaded = data.read(folder, split, count) if folder else data.generate(split, count, rows=None, only=only)
    found = tuple(_example(each, generated=folder is None) for each in loaded.rows)
    bad = (*loaded.bad, *(BadRow(image, "the image was not found") for image in loaded.missing))
    return LoadedExamples(found, bad, loaded.notes)


def _example(puzzle: data.PuzzleQuestion, *, generated: bool) -> Example:
    row = puzzle.row
    return Example(
        id=row.id,
        question=row.question,
        frames=(VideoFrame(str(puzzle.image), 0.0),),
        evidence=_evidence(row.question, instance(row.puzzle, row.number).facts) if generated else "",
        answer=row.options[row.answer],
        options=row.options,
    )


def _evidence(question: str, shown: Mapping[str, Any]) -> str:
    """Return the evidence; a name of one letter may be an article in the question."""
    found = sorted(facts(shown).items()) or all_facts(shown)
    asked = {name for name, _ in found if len(name) > 1 and re.search(rf"\b{re.escape(name)}\b", question, re.IGNORECASE)}
    found.sort(key=lambda each: each[0] not in asked)
    return "shown: " + ", ".join(said(name, value) for name, value in found[:MOST_THINGS]) + "."


def said(name: str, value: str) -> str:
    """Return how the evidence says the value of a thing: "orange3", "pattern green red"."""
    return f"{name}{value}" if value[0].isdigit() or value[0] == "-" else f"{name} {value}"
