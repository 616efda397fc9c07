"""The world as a task of lmms-eval (github.com/EvolvingLMMs-Lab/lmms-eval), for any model that it knows.

    espresso world make --split test --count 420 --out world-test
    espresso world export world-test
    lmms-eval --include_path world-test --tasks espresso_world --model qwen2_5_vl --model_args pretrained=...

`espresso_world` shows the clip and asks for a letter; how many frames are looked at is the model's own setting.
`espresso_world_frames` shows evenly spread frames as pictures and asks an open question, in the words that the answer graph has
for the tiny models: for runs side by side (`benchmarks/harness.py`). Of what is true of a clip only the right option goes out.
The folder holds all that the tasks need and can be moved.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import prompts
from espresso import media, world
from espresso.errors import DataError
from espresso.models import Picture
from espresso.schema import Frame, Question
from eval.sample import shuffled

TASK = Path(__file__).parent / "task"
DOCUMENTS = "questions.lmms-eval.jsonl"
FRAMES = 16


def export(folder: Path, *, frames: int = FRAMES) -> int:
    """Put the files of both tasks into a folder that `espresso world make` made; returns the number of questions.

    frames: of `espresso_world_frames`. Raises DataError where the folder holds no world or takes no file, MediaError for a clip
    that cannot be read or where `frames` is no number of frames.
    """
    questions = world.load(folder)
    clips = {question.visuals[0] for question in questions}
    seen = {clip: media.sample(media.open(clip), media.uniform(frames)).frames for clip in clips}
    lines = [json.dumps(_document(question, folder, seen[question.visuals[0]])) + "\n" for question in questions]
    try:
        (folder / DOCUMENTS).write_text("".join(lines))
        for file in (*TASK.glob("*.yaml"), *TASK.glob("*.py")):
            shutil.copyfile(file, folder / file.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written to ({error.strerror}). Export a copy of it that can be.") from error
    return len(questions)


def _document(question: Question, folder: Path, frames: Sequence[Frame]) -> dict[str, object]:
    """One question as the task's `utils.py` reads it, options in the order of `espresso eval run`."""
    options = question.options or ()
    return {
        "id": question.id,
        "task": question.task,
        "clip": Path(question.visuals[0]).relative_to(folder).as_posix(),
        "question": question.text,
        "options": [options[position] for position in shuffled(question, seed=0)],
        "answer": question.answer,
        "frames": [frame.index for frame in frames],
        "prompt": _prompt(question, frames),
    }


def _prompt(question: Question, frames: Sequence[Frame]) -> str:
    """What a tiny model is told that gives no evidence first; `<image 1>` and so on where it is shown a picture."""
    blank = Picture(np.zeros((1, 1, 3), np.uint8))
    shown = [{"picture": blank, "time": frame.time} for frame in frames]
    (said,) = prompts.render("answer", frames=shown, question=question.text, evidence="", options=[]).messages
    numbers = iter(range(1, len(frames) + 1))
    return "".join(part if isinstance(part, str) else f"<image {next(numbers)}>" for part in said.content)
