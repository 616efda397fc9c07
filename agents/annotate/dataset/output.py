"""The files of a constructed dataset: questions in the `records` format, and rejected pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

import numpy as np

from agents.annotate.dataset.bias import MIN_QUESTIONS, reject_guessable
from agents.annotate.records import RejectedPair, VideoAnnotation
from espresso.datasets import records
from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.log import read_lines
from espresso.schema import KeyItem, Question, Span, Task


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


def read(data: Path) -> tuple[list[Question], list[RejectedPair]]:
    """Read the questions of a dataset and the rejected pairs beside it.

    Raises:
        DataError: a file cannot be read, or there is neither a question nor a rejected pair.
    """
    rejects = rejected_file(data)
    rejected = read_lines(rejects, RejectedPair) if rejects.is_file() else []
    all_rejected = data.is_file() and data.stat().st_size == 0
    questions = [] if all_rejected else records.read(data)
    if not questions and not rejected:
        raise DataError(f"{data}: no question and no rejected pair in it. Run `espresso annotate` on more videos.")
    return questions, rejected


def core_index(span: Span, items: Iterable[KeyItem], times: np.ndarray) -> int:
    """Return the native index of the frame that stands for a span.

    It is the frame of the span in which key items were looked for, because their boxes belong to
    it; without such a frame, it is the one in the middle.

    Args:
        span: a core frame as a stretch of time.
        items: the key items of the question.
        times: seconds of the visual's frames, shape (frames,).
    """
    middle = (span.start + span.end) / 2
    inside = [item.frame for item in items if span.holds(item.frame)]
    nearest = min(inside, key=lambda frame: abs(frame.time - middle), default=None)
    return nearest.index if nearest else int(np.abs(times - middle).argmin())


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
