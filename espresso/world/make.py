"""Clips on disk: real mp4 files, questions beside them, and everything that is true of them.

A folder holds `clips/<split>-<index>.mp4`, `clips/<split>-<index>.json` (acts, causes, captions, tracks with boxes) and
`questions.jsonl` (records with truth). Making the same folder again adds what is missing and leaves the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from espresso import media
from espresso.errors import DataError
from espresso.schema import Question, Span, Truth
from espresso.world.cast import Split
from espresso.world.draw import render
from espresso.world.plan import story
from espresso.world.stage import sprites
from espresso.world.story import Story

FPS = 12.0
COMMENT = "espresso-world"
"""The metadata tag by which a clip is known to be of this world."""
TRACK_FPS = 4.0


def make(
    split: Split,
    count: int,
    out: Path,
    *,
    size: int = 224,
    workers: int | None = None,
    on_clip: Callable[[int, int], None] | None = None,
) -> list[Question]:
    """Make the first `count` questions of a split with their clips, the tasks in turn; returns them.

    size: pixels a side, even. workers: processes (the machine's cores when None; 1 stays in this one). on_clip: called with
    (clips done, clips in all). Raises DataError where the folder holds another split or size.
    """
    if count < 1 or size < 64 or size % 2:
        raise DataError(f"cannot make {count} questions at {size} pixels: at least one question, and 64 pixels or more, even.")
    _claim(out, {"split": split, "size": size, "fps": FPS})
    stories, questions = [], []
    for told, asked in _asked(split, count):
        stories.append(told)
        questions += asked
    jobs = [(told.split, told.index, out / "clips", size) for told in stories if not _made(out, told)]
    done = len(stories) - len(jobs)
    for _ in _run(jobs, workers or os.cpu_count() or 1):
        done += 1
        if on_clip:
            on_clip(done, len(stories))
    lines = "".join(question.model_dump_json() + "\n" for question in questions)
    part = out / "questions.jsonl.part"
    part.write_text(lines)
    part.replace(out / "questions.jsonl")
    return load(out)


def load(folder: Path) -> list[Question]:
    """The questions in a folder that `make` made, their visuals as paths that can be opened.

    Raises DataError naming file and line where one cannot be read.
    """
    path = folder / "questions.jsonl"
    if not path.is_file():
        raise DataError(f"{path}: not there. `espresso world make --out {folder}` makes it.")
    questions = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            question = Question.model_validate_json(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not a question record ({str(error).splitlines()[0]}).") from None
        questions.append(question.model_copy(update={"visuals": tuple(str(folder / visual) for visual in question.visuals)}))
    return questions


def demo_clip(path: Path, seed: int) -> list[Question]:
    """Render a fresh clip of three questions of different tasks to `path`; returns them."""
    told = story("demo", seed)
    film(told, path, 224)
    return questions_of(told, str(path))


def questions_of(told: Story, visual: str) -> list[Question]:
    """A story's questions as records, with truth."""
    made = []
    for number, (motif, needed) in enumerate(zip(told.motifs, told.needed, strict=True)):
        beats = [told.beats[i] for i in needed]
        made.append(
            Question(
                id=f"{told.split}-{told.index:05d}-{number}",
                visuals=(visual,),
                text=motif.text,
                options=motif.options,
                task=motif.task,
                answer=motif.answer,
                truth=Truth(
                    spans=tuple(Span(start=round(b.start, 3), end=round(b.end, 3)) for b in beats),
                    facts=tuple(b.fact for b in beats),
                    evidence=" ".join(f"{(b.start + b.end) / 2:.1f}s: {b.fact}." for b in beats),
                ),
            )
        )
    return made


def film(told: Story, path: Path, size: int) -> None:
    """Render a story to an mp4 file."""
    times = np.arange(0, told.duration, 1 / FPS)
    media.write_video(path, (render(told, float(time), size) for time in times), FPS, comment=COMMENT)


def truth_of(told: Story, size: int) -> dict[str, Any]:
    """Everything that is true of a clip: acts and causes, captions by time, tracks of boxes (xyxy pixels) at four a second."""
    times = [round(float(time), 3) for time in np.arange(0, told.duration, 1 / TRACK_FPS)]
    return {
        "place": told.place,
        "layout": told.layout,
        "duration": round(told.duration, 3),
        "cast": [str(thing) for thing in told.cast],
        "acts": [
            {
                "start": round(b.start, 3),
                "end": round(b.end, 3),
                "fact": b.fact,
                "verb": b.verb,
                "doer": b.doer and str(b.doer),
                "target": b.target and str(b.target),
                "value": b.value,
            }
            for b in told.beats
        ],
        "causes": [{"cause": cause, "effect": effect} for cause, effect in told.causes],
        "frames": [
            {"time": time, "caption": told.caption(time), "boxes": {str(s.thing): s.box(size) for s in sprites(told, time)}}
            for time in times
        ],
    }


def _asked(split: Split, count: int) -> Iterator[tuple[Story, list[Question]]]:
    index, left = 0, count
    while left > 0:
        told = story(split, index)
        asked = questions_of(told, f"clips/{_stem(told)}.mp4")[:left]
        yield told, asked
        index, left = index + 1, left - len(asked)


def _stem(told: Story) -> str:
    return f"{told.split}-{told.index:05d}"


def _made(out: Path, told: Story) -> bool:
    return all((out / "clips" / f"{_stem(told)}{kind}").is_file() for kind in (".mp4", ".json"))


def _film_one(job: tuple[Split, int, Path, int]) -> None:
    split, index, folder, size = job
    told = story(split, index)
    film(told, folder / f"{_stem(told)}.mp4", size)
    part = folder / f"{_stem(told)}.json.part"
    part.write_text(json.dumps(truth_of(told, size)))
    part.replace(part.with_suffix(""))


def _run(jobs: list[tuple[Split, int, Path, int]], workers: int) -> Iterator[None]:
    if workers == 1 or len(jobs) < 8:
        yield from map(_film_one, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_film_one, jobs, chunksize=4)


def _claim(out: Path, what: dict[str, Any]) -> None:
    """Note what the folder holds, or refuse to mix it with something else."""
    path = out / "world.json"
    if path.is_file():
        held = json.loads(path.read_text())
        if held != what:
            raise DataError(f"{out}: holds {held}, not {what}. Give another --out.")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: exists and is not a folder this command made. Give another --out.")
    (out / "clips").mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(what))
