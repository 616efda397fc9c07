"""Espresso's own format: one `Question` per line of a JSONL file, as `espresso world make` writes.

Visuals are paths relative to the file's folder, or absolute; `clip.mp4#t=4,6` is a part of a video.
`truth`, if there is one, holds the core frames as spans of time, the evidence and the key items.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from espresso.datasets.base import FileDataset
from espresso.datasets.fields import text, texts
from espresso.datasets.rows import BadRow, RawRow
from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.schema import Question


def _read(row: RawRow) -> Question:
    values = {**row, "id": text(row, "id")}
    for field in ("text", "answer", "task", "group"):
        if field == "text" or row.get(field) is not None:
            text(row, field)
    for field in ("visuals", "options"):
        if field == "visuals" or row.get(field) is not None:
            texts(row, field)
    return Question.model_validate(values)


DATASET = FileDataset("records", _read)


def read(path: Path) -> list[Question]:
    """Read all questions of a file, with visuals as paths that can be opened.

    Raises:
        DataError: the file, or one of its rows, cannot be read.
    """
    bad = list[BadRow]()
    questions = [question for _, question in DATASET.read_questions(path, bad)]
    if bad:
        raise DataError(f"{path}: {bad[0]}. Correct or remove the row.")
    return [
        question.model_copy(update={"visuals": tuple(str(path.parent / visual) for visual in question.visuals)})
        for question in questions
    ]


def write(path: Path, questions: Iterable[Question]) -> None:
    """Write questions, with the truth, to a JSONL file.

    Visuals inside the file's folder are written relative to it, so the folder can be moved; others
    are written as absolute paths.

    Raises:
        OSError: the file cannot be written.
    """
    lines = (_portable(question, path.parent).model_dump_json() + "\n" for question in questions)
    write_atomic(path, "".join(lines))


def portable_path(visual: str, folder: Path) -> str:
    """Return a path relative to a folder if the file is inside it, else the absolute path."""
    path, root = Path(visual).absolute(), folder.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _portable(question: Question, folder: Path) -> Question:
    return question.model_copy(update={"visuals": tuple(portable_path(visual, folder) for visual in question.visuals)})
