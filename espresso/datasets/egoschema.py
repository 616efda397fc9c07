"""EgoSchema: questions about three minutes of first-person video.

Mangalam, Akshulakov, Malik, "EgoSchema: A Diagnostic Benchmark for Very Long-form Video Language
Understanding", NeurIPS 2023. Five options; only the subset of 500 has answers. Three kinds of files
are read:

- The authors' `questions.json`, with the answers in `subset_answers.json` next to it.
- Questions with their answers (`truth` or `answer`, an index), as a list or an object by `q_uid`.
- The copy on the Hugging Face hub, with `video_idx` and a list of options that start with letters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from espresso.datasets.base import FileDataset
from espresso.datasets.fields import by_index, is_missing, split_letters, text, texts
from espresso.datasets.rows import BadRow, RawRow, read_rows
from espresso.errors import DataError
from espresso.schema import Question

OPTIONS = 5
ANSWERS = "subset_answers.json"
"""The authors' file of answers: `q_uid` -> index of the option."""


def _read_file(path: Path, bad: list[BadRow]) -> Iterator[tuple[str, RawRow]]:
    """Read the rows of a file, and add the answers of `subset_answers.json` to rows without one."""
    if path.name == ANSWERS:
        raise DataError(f"{path}: holds answers and no questions. Give questions.json, with this file in the same folder.")
    answers: Mapping[str, Any] | None = None
    for where, row in read_rows(path, bad):
        if "q_uid" not in row or not (is_missing(row.get("truth")) and is_missing(row.get("answer"))):
            yield where, row
            continue
        if answers is None:
            answers = _read_answers(path.with_name(ANSWERS))
        if (uid := str(row["q_uid"])) in answers:
            yield where, {**row, "truth": answers[uid]}
        else:
            bad.append(BadRow(where, f"no answer: the row has none, and {ANSWERS} in its folder does not have its q_uid"))


def _read_answers(path: Path) -> Mapping[str, Any]:
    """Read the file of answers; empty if there is none."""
    faults = list[BadRow]()
    answers = next((row for _, row in read_rows(path, faults)), {}) if path.exists() else {}
    if faults:
        raise DataError(f"{path}: {faults[0].why}. Give the file as it was downloaded.")
    return answers


def _read(row: RawRow) -> Question:
    if row.keys() & {"video_idx", "option"}:
        options = tuple(split_letters(texts(row, "option")).values())
        name, video = text(row, "question_idx"), text(row, "video_idx")
    else:
        options = tuple(text(row, f"option {number}") for number in range(OPTIONS))
        name = video = text(row, "q_uid")
    answer = "answer" if is_missing(row.get("truth")) else "truth"
    return Question(id=name, visuals=(video,), text=text(row, "question"), options=options, answer=by_index(options, row, answer))


DATASET = FileDataset("egoschema", _read, read_file=_read_file)
