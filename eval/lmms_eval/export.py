"""Export questions as tasks of lmms-eval and as question records.

    espresso world make --split test --count 420 --out world-test
    espresso world export world-test
    lmms-eval --include_path world-test --tasks espresso_world --model qwen2_5_vl --model_args ...

The task, such as `espresso_world`, shows the visuals and asks for an option's letter; the model's
own settings decide how many frames it sees. The task with `_frames` added to its name shows evenly
spaced frames as images and asks an open question with the prompt of the answer graph, so that both
programs can be compared on the same input (`benchmarks/harness.py`). The answer is the only ground
truth in the tasks' data.

Visuals inside the folder are referred to by relative paths, so the folder can be moved with them;
others by absolute paths.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import prompts
from espresso import media
from espresso.datasets import BadRow, DatasetFiles, get_dataset, records
from espresso.datasets.frames import open_shared, split_count
from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.models import Picture
from espresso.options import UNIFORM_FRAMES
from espresso.schema import Frame, Question, visual_names
from eval.protocols import option_order
from prompts import Style

TASK = Path(__file__).parent / "task"
TASK_NAME = "espresso_world"
"""Name of the task in the files of `task`, replaced by that of the exported task."""

RECORDS = "questions.jsonl"
DOCUMENTS = "questions.lmms-eval.jsonl"
DECODED_SIZE = 32
"""Longest side in pixels of frames that are decoded only to check that they can be."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    questions: int
    """Number of questions in the records."""

    documents: int
    """Number of questions in the tasks: those with options and an answer."""

    bad: tuple[BadRow, ...] = ()
    """Rows of the dataset that could not be read."""

    missing: tuple[str, ...] = ()
    """Visuals of the dataset that were not found. Their questions are left out."""


def export_dataset(
    name: str,
    folder: Path,
    *,
    split: str = "test",
    limit: int | None = None,
    files: DatasetFiles | None = None,
    frames: int = UNIFORM_FRAMES,
    on_clip: Callable[[int, int], None] | None = None,
) -> Exported:
    """Export questions of a dataset, as the tasks `espresso_NAME` and `espresso_NAME_frames`.

    Args:
        name: name of the dataset.
        folder: folder to write to; it is created if it does not exist.
        split: split of the dataset.
        limit: number of questions, the first ones; None is all.
        files: the user's copy, for a dataset that needs files.
        frames: number of frames that `espresso_NAME_frames` shows.
        on_clip: called with (clips done, all clips) while clips are rendered.

    Raises:
        DataError: the dataset cannot be loaded; the folder cannot be written or has other
            questions.
        MediaError: a visual cannot be decoded, or `frames` is not a number of frames.
    """
    dataset = get_dataset(name)
    if split not in dataset.splits:
        raise DataError(f"{name}: no split {split!r}. The splits are {', '.join(dataset.splits)}.")
    loaded = dataset.load(split, limit, files, on_clip)
    if not loaded.questions:
        raise DataError(f"{name}: none of the {len(loaded.missing)} videos was found. Give another folder of videos.")
    style: Style = "tiny" if name == "world" else "general"
    documents = export(loaded.questions, folder, task=f"espresso_{name}", style=style, frames=frames)
    return Exported(len(loaded.questions), documents, loaded.bad, loaded.missing)


def export(
    questions: Sequence[Question], folder: Path, *, task: str, style: Style = "general", frames: int = UNIFORM_FRAMES
) -> int:
    """Write questions as records (`questions.jsonl`) and as tasks of lmms-eval.

    Args:
        questions: the questions, with paths of their visuals.
        folder: folder to write to; it is created if it does not exist.
        task: name of the task; that of the frames has `_frames` added.
        style: prompt style of the task of frames.
        frames: number of frames that the task of frames shows, shared by the visuals of a question.

    Returns:
        The number of questions in the tasks: those with options, an answer and whole visuals,
        because lmms-eval cannot show a part of a video. If there is none, only the records are
        written.

    Raises:
        DataError: the folder cannot be written, or has records of other questions.
        MediaError: a visual cannot be decoded, or `frames` is not a number of frames.
    """
    file = folder / RECORDS
    if file.exists() and [question.id for question in records.read(file)] != [question.id for question in questions]:
        raise DataError(f"{file}: holds other questions. Export to another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        records.write(file, questions)
    except OSError as error:
        raise _not_writable(folder, error) from error
    return _write_task(questions, folder, task, style, frames)


def export_world(folder: Path, *, frames: int = UNIFORM_FRAMES) -> int:
    """Write the tasks `espresso_world` and `espresso_world_frames` to a folder of the world.

    Args:
        folder: a folder that `espresso world make` wrote.
        frames: number of frames that `espresso_world_frames` shows.

    Returns:
        The number of questions.

    Raises:
        DataError: the folder has no world, or cannot be written.
        MediaError: a clip cannot be decoded, or `frames` is not a number of frames.
    """
    if not (folder / RECORDS).is_file():
        raise DataError(f"{folder / RECORDS}: no such file. Run `espresso world make --out {folder}` first.")
    return _write_task(records.read(folder / RECORDS), folder, TASK_NAME, "tiny", frames)


def _write_task(questions: Sequence[Question], folder: Path, task: str, style: Style, frames: int) -> int:
    """Write the tasks' data, configurations and code. Returns the number of questions in them."""
    closed = [
        question
        for question in questions
        if question.options and question.answer and not any(media.split_segment(visual)[1] for visual in question.visuals)
    ]
    if not closed:
        return 0
    sampled: dict[tuple[str, int], Sequence[Frame]] = {}
    several = any(len(question.visuals) > 1 for question in closed)
    lines = [json.dumps(_document(question, folder, style, frames, several, sampled)) + "\n" for question in closed]
    try:
        write_atomic(folder / DOCUMENTS, "".join(lines))
        for file in TASK.glob("*.yaml"):
            write_atomic(folder / file.name.replace(TASK_NAME, task), file.read_text(encoding="utf-8").replace(TASK_NAME, task))
        for file in TASK.glob("*.py"):
            shutil.copyfile(file, folder / file.name)
    except OSError as error:
        raise _not_writable(folder, error) from error
    return len(closed)


def _not_writable(folder: Path, error: OSError) -> DataError:
    return DataError(f"{folder}: cannot be written ({error.strerror}). Export to a folder that can be.")


def _document(
    question: Question,
    folder: Path,
    style: Style,
    count: int,
    several: bool,
    sampled: dict[tuple[str, int], Sequence[Frame]],
) -> Mapping[str, object]:
    """Return a question as the task's `utils.py` reads it.

    Args:
        question: the question. Its options are put in the order of `espresso eval run --seed 0`.
        folder: the task's folder.
        style: prompt style of the task of frames.
        count: number of frames.
        several: whether `clip` and `frames` are lists, with one entry per visual.
        sampled: frames by path and number, of the visuals seen before; others are added.
    """
    frames = list[Sequence[Frame]]()
    for visual, share in zip(question.visuals, split_count(count, len(question.visuals)), strict=True):
        if share and (visual, share) not in sampled:
            sampled[visual, share] = media.sample(open_shared(visual), media.uniform(share), size=DECODED_SIZE).frames
        frames.append(sampled[visual, share] if share else ())
    clips = [records.portable_path(visual, folder) for visual in question.visuals]
    numbers = [[frame.index for frame in part] for part in frames]
    options = question.options or ()
    return {
        "id": question.id,
        "task": question.task,
        "clip": clips if several else clips[0],
        "question": question.text,
        "options": [options[position] for position in option_order(question, seed=0)],
        "answer": question.answer,
        "frames": numbers if several else numbers[0],
        "prompt": _prompt(question, frames, style),
    }


def _prompt(question: Question, frames: Sequence[Sequence[Frame]], style: Style) -> str:
    """Return the user turn of an answer without evidence, with `<image 1>` and so on as frames.

    Args:
        question: the question.
        frames: the frames of each visual.
        style: prompt style.
    """
    blank = Picture(np.zeros((1, 1, 3), np.uint8))
    names = visual_names([open_shared(visual).visual.kind for visual in question.visuals])
    shown = [
        {"picture": blank, "time": frame.time, "name": name} for name, part in zip(names, frames, strict=True) for frame in part
    ]
    messages = prompts.render("answer", style=style, frames=shown, question=question.text, evidence="", options=[]).messages
    numbers = iter(range(1, len(shown) + 1))
    return "".join(part if isinstance(part, str) else f"<image {next(numbers)}>" for part in messages[-1].content)
