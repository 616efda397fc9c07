"""Write clips to disk: mp4 files with questions and ground truth.

A folder contains `clips/<split>-<index>.mp4`, `clips/<split>-<index>.json` (acts, causes, captions
and boxes) and `questions.jsonl` (question records with ground truth). Existing clips are kept, so
an interrupted command can be repeated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espresso import media
from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.schema import Question, Span, Truth
from espresso.world.cast import Split
from espresso.world.draw import render
from espresso.world.plan import story as make_story
from espresso.world.stage import sprites
from espresso.world.story import Story
from espresso.world.workers import run

FPS = 12.0
"""Frames per second of the clips."""

COMMENT = "espresso-world"
"""Comment tag that identifies clips of this world."""

TRACK_FPS = 4.0
"""Rate per second of captions and boxes in the ground truth."""


def make(
    split: Split,
    count: int,
    out: Path,
    *,
    size: int = 224,
    workers: int | None = None,
    on_clip: Callable[[int, int], None] | None = None,
) -> list[Question]:
    """Write the first `count` questions of a split with their clips.

    Args:
        split: the split.
        count: number of questions; the tasks take turns.
        out: the folder, created if missing.
        size: width and height of the clips in pixels, even and at least 64.
        workers: number of processes; None is the number of CPU cores, 1 uses the current process.
        on_clip: called with (clips done, total clips) after each clip.

    Returns:
        The questions, with paths of their clips.

    Raises:
        DataError: an argument is invalid, or the folder contains another split or size.
    """
    if count < 1 or size < 64 or size % 2:
        raise DataError(
            f"cannot make {count} questions at {size} pixels. Use at least one question, and an even size of at least 64."
        )
    indices, questions = [], []
    for story, story_questions in _stories(split, count):
        indices.append(story.index)
        questions += story_questions
    make_clips(split, indices, out, size=size, workers=workers, on_clip=on_clip)
    write_atomic(out / "questions.jsonl", "".join(question.model_dump_json() + "\n" for question in questions))
    return load(out)


def make_clips(
    split: Split,
    indices: Sequence[int],
    out: Path,
    *,
    size: int = 224,
    workers: int | None = None,
    on_clip: Callable[[int, int], None] | None = None,
) -> dict[int, Path]:
    """Write the clips of stories with their ground truth; existing ones are kept.

    Args:
        split: the split.
        indices: different indices of stories.
        out: the folder, created if missing.
        size: see `make`.
        workers: see `make`.
        on_clip: called with (clips done, total clips) after each clip.

    Returns:
        Index -> path of the clip.

    Raises:
        DataError: the folder contains another split or size.
    """
    _claim(out, {"split": split, "size": size, "fps": FPS})
    paths = {index: out / "clips" / f"{_stem(split, index)}.mp4" for index in indices}
    jobs = [(split, index, out / "clips", size) for index, path in paths.items() if not _exists(path)]
    done = len(paths) - len(jobs)
    for _ in _run(jobs, workers or os.cpu_count() or 1):
        done += 1
        if on_clip:
            on_clip(done, len(paths))
    return paths


def load(folder: Path) -> list[Question]:
    """Read the questions of a folder written by `make`, with the paths of their clips.

    Raises:
        DataError: the folder or a line of `questions.jsonl` is invalid.
    """
    path = folder / "questions.jsonl"
    if not path.is_file():
        raise DataError(f"{path}: no such file. Create it with `espresso world make --out {folder}`.")
    questions = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            question = Question.model_validate_json(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not a question record ({str(error).splitlines()[0]}).") from None
        questions.append(question.model_copy(update={"visuals": tuple(str(folder / visual) for visual in question.visuals)}))
    return questions


def demo_clip(path: Path, seed: int) -> list[Question]:
    """Render a clip of the demo split to `path` and return its three questions."""
    story = make_story("demo", seed)
    write_clip(story, path, 224)
    return questions_of(story, str(path))


def questions_of(story: Story, visual: str) -> list[Question]:
    """Return the questions of a story with ground truth; `visual` is the path of its clip."""
    questions = []
    for number, (motif, needed) in enumerate(zip(story.motifs, story.needed, strict=True)):
        beats = [story.beats[i] for i in needed]
        questions.append(
            Question(
                id=f"{story.split}-{story.index:05d}-{number}",
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
    return questions


def write_clip(story: Story, path: Path, size: int) -> None:
    """Render a story to an mp4 file of `size` x `size` pixels."""
    times = np.arange(0, story.duration, 1 / FPS)
    media.write_video(path, (render(story, float(time), size) for time in times), FPS, comment=COMMENT)


def truth_of(story: Story, size: int) -> dict[str, Any]:
    """Return the ground truth of a clip as JSON.

    Acts, causes, and captions with boxes (xyxy pixels) at `TRACK_FPS`.
    """
    times = [round(float(time), 3) for time in np.arange(0, story.duration, 1 / TRACK_FPS)]
    return {
        "place": story.place,
        "layout": story.layout,
        "duration": round(story.duration, 3),
        "cast": [str(thing) for thing in story.cast],
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
            for b in story.beats
        ],
        "causes": [{"cause": cause, "effect": effect} for cause, effect in story.causes],
        "frames": [
            {"time": time, "caption": story.caption(time), "boxes": {str(s.thing): s.box(size) for s in sprites(story, time)}}
            for time in times
        ],
    }


def _stories(split: Split, count: int) -> Iterator[tuple[Story, list[Question]]]:
    """Yield stories with their questions, `count` questions in total."""
    index, remaining = 0, count
    while remaining > 0:
        story = make_story(split, index)
        questions = questions_of(story, f"clips/{_stem(split, index)}.mp4")[:remaining]
        yield story, questions
        index, remaining = index + 1, remaining - len(questions)


def _stem(split: Split, index: int) -> str:
    return f"{split}-{index:05d}"


def _exists(clip: Path) -> bool:
    return clip.is_file() and clip.with_suffix(".json").is_file()


def _write_one(job: tuple[Split, int, Path, int]) -> None:
    split, index, folder, size = job
    story = make_story(split, index)
    write_clip(story, folder / f"{_stem(split, index)}.mp4", size)
    write_atomic(folder / f"{_stem(split, index)}.json", json.dumps(truth_of(story, size)))


def _run(jobs: list[tuple[Split, int, Path, int]], workers: int) -> Iterator[None]:
    if workers == 1 or len(jobs) < 8:
        yield from map(_write_one, jobs)
        return
    yield from run(_write_one, jobs, workers)


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Record the settings of a new folder. Raises DataError if the folder has other content."""
    path = out / "world.json"
    if path.is_file():
        existing = json.loads(path.read_bytes())
        if existing != settings:
            raise DataError(f"{out}: was created with {existing}, not {settings}. Use another --out.")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: exists and was not created by this command. Use another --out.")
    (out / "clips").mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings), encoding="utf-8")
