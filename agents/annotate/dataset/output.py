"""The files of a constructed dataset: questions in the `records` format, and rejected pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

from agents.annotate.dataset.bias import reject_guessable
from agents.annotate.records import RejectedPair, VideoAnnotation
from espresso.datasets import records
from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.schema import Question, Task

MIN_QUESTIONS = 100
"""Questions from which on a bag of words can tell which of them it answers."""


def rejected_file(out: Path) -> Path:
    """Return the file of the rejected pairs."""
    return out.with_suffix(".rejected.jsonl")


def write(out: Path, results: Iterable[VideoAnnotation]) -> list[RejectedPair]:
    """Write the questions and the rejected pairs of finished videos, in the order of the videos.

    Questions that a bag of words answers are rejected here, because that shows over many videos.

    Returns:
        All rejected pairs.

    Raises:
        DataError: a file cannot be written.
    """
    done = [each for each in results if each.error is None]
    questions = [question for each in done for question in each.questions]
    rejected = [pair for each in done for pair in each.rejected]
    if len(questions) >= MIN_QUESTIONS:
        guessable = set(reject_guessable(questions))
        rejected += [_guessable(question) for question in questions if question.id in guessable]
        questions = [question for question in questions if question.id not in guessable]
    try:
        records.write(out, balance(questions))
        lines = (_portable(pair, out.parent).model_dump_json() + "\n" for pair in rejected)
        write_atomic(rejected_file(out), "".join(lines))
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}). Free some space or give another --out.") from error
    return rejected


def _guessable(question: Question) -> RejectedPair:
    return RejectedPair(
        id=question.id,
        visuals=question.visuals,
        task=Task.parse(str(question.task)),
        text=question.text,
        answer=str(question.answer),
        node="words",
        reason="a bag of words that has seen the other videos' questions knows the answer",
    )


def balance(questions: Sequence[Question]) -> list[Question]:
    """Move the answers so that each position among the options holds equally many."""
    turns = count()
    balanced = []
    for question in questions:
        if not question.options:
            balanced.append(question)
            continue
        others = [option for option in question.options if option != question.answer]
        position = next(turns) % len(question.options)
        options = (*others[:position], str(question.answer), *others[position:])
        balanced.append(question.model_copy(update={"options": options}))
    return balanced


def _portable(pair: RejectedPair, folder: Path) -> RejectedPair:
    return pair.model_copy(update={"visuals": tuple(records.portable_path(visual, folder) for visual in pair.visuals)})
