"""The files that questions to learn from come in, each translated to `finetune.lora.collate.Example` here and nowhere else.

A row that cannot be learnt from is told with its place and reason, and left out: a file of 200,000 rows has some.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from espresso.errors import DataError, MediaError
from espresso.schema import Box, Question
from espresso.world import Split, Story, render, story
from finetune import config
from finetune.lora.collate import BadRow, Example, Moment, opened


@dataclass(frozen=True)
class Loaded:
    """What a source gave. notes: what had to be assumed, a sentence each."""

    examples: tuple[Example, ...]
    bad: tuple[BadRow, ...] = ()
    notes: tuple[str, ...] = ()


class _BadRowError(ValueError):
    """Why a row cannot be learnt from."""


def load(source: config.Records | config.VideoEspresso | config.World, seed: int = 0, needed: int | None = None) -> Loaded:
    """Read one source. Raises DataError where there is nothing to learn from.

    seed: of what is drawn, where something is. needed: as many examples are enough; a file is read as a whole all the same.
    """
    if isinstance(source, config.World):
        return _world(source, seed, min(source.count, needed or source.count))
    loaded = _records(source.path) if isinstance(source, config.Records) else _videoespresso(source)
    if not loaded.examples:
        why = f" The first: {loaded.bad[0].where}: {loaded.bad[0].why}." if loaded.bad else ""
        raise DataError(f"{source.path}: no row to learn from ({len(loaded.bad)} bad).{why}")
    return loaded


# Our own records


def _records(path: Path) -> Loaded:
    """Question records; core frames are the middles of the true spans, visuals stand beside the file."""
    examples, bad = [], []
    for number, line in enumerate(_text(path).splitlines(), 1):
        try:
            examples.append(_from_record(Question.model_validate_json(line), path.parent))
        except (ValueError, MediaError) as error:
            bad.append(BadRow(f"{path.name}, line {number}", _reason(error)))
    return Loaded(tuple(examples), tuple(bad))


def _from_record(question: Question, folder: Path) -> Example:
    if question.truth is None or not question.truth.spans or not question.truth.evidence.strip():
        raise _BadRowError("no evidence")
    if not question.answer:
        raise _BadRowError("no answer")
    sources = [str(folder / visual) for visual in question.visuals]
    if max(span.visual for span in question.truth.spans) >= len(sources):
        raise _BadRowError(f"a core frame of a visual that is not there ({len(sources)} are)")
    if missing := next((source for source in sources if not Path(source).is_file()), None):
        raise _BadRowError(f"{missing} is not there")
    shots = tuple(Moment(sources[span.visual], (span.start + span.end) / 2) for span in question.truth.spans)
    items = [grounded(item.label, item.box, *_size(sources[item.frame.visual])) for item in question.truth.key_items if item.box]
    said = question.truth.evidence.strip() + (f" Key items: {', '.join(items)}." if items else "")
    return Example(question.id, question.text, shots, said, question.answer, question.options or ())


# VideoEspresso's own files

_FRAMES = ("keyframe_path", "core_frames_paths", "core_frame_paths", "core_frame_path", "path")
_ITEM = re.compile(r"<obj_start>(.*?)<obj_end>(?:<box_start>(.*?)<box_end>)?", re.DOTALL)
_CLOCK = re.compile(r"(\d+)-(\d+)-(\d+)-(\d+)$")
"""The end of a frame's name that tells its time: hours, minutes, seconds, milliseconds (Storystream)."""


def _videoespresso(source: config.VideoEspresso) -> Loaded:
    """The train file, multi-image (frames are image files) or video (frames are numbers in the video), whichever is there."""
    try:
        rows = json.loads(_text(source.path))
    except json.JSONDecodeError as error:
        raise DataError(f"{source.path}: not JSON ({error}). Give the authors' file as it was downloaded.") from None
    if not isinstance(rows, list):
        raise DataError(f"{source.path}: not a list of questions. Give the authors' file as it was downloaded.")
    boxes = [box for row in rows if isinstance(row, dict) for box in _boxes(str(row.get("evidence", ""))) if len(box) == 4]
    corners = all(x1 < x2 and y1 < y2 for x1, y1, x2, y2 in boxes)
    examples, bad = [], []
    for number, row in enumerate(rows):
        try:
            examples.append(_from_authors(row, number, source, corners))
        except (ValueError, MediaError) as error:
            bad.append(BadRow(f"{source.path.name}, row {number}", _reason(error)))
    notes = []
    if boxes:
        notes.append(f"{len(boxes)} boxes read as " + ("x1, y1, x2, y2 in pixels" if corners else _CENTRES))
    if source.rate:
        notes.append(f"numbers in frame names read as positions at {source.rate:g} frames a second")
    return Loaded(tuple(examples), tuple(bad), tuple(notes))


_CENTRES = "centre x, centre y, width, height in thousandths, since some cannot be corners"


def _from_authors(row: Any, number: int, source: config.VideoEspresso, corners: bool) -> Example:
    if not isinstance(row, dict):
        raise _BadRowError("not an object")
    texts = {name: str(row.get(name) or "").strip() for name in ("question", "answer", "evidence")}
    if absent := next((name for name, text in texts.items() if not text), None):
        raise _BadRowError(f"no {absent}")
    named = next((row[name] for name in _FRAMES if row.get(name)), None)
    if named is None:
        raise _BadRowError(f"no core frames (looked for {', '.join(_FRAMES)})")
    names = [named] if isinstance(named, str) else named
    shots = tuple(_shot(str(name), row.get("video_path"), source) for name in names)

    def plain(item: re.Match[str]) -> str:
        boxes = [_as_pixels(box, corners, *size) for box in _boxes(item[0])]
        return ", ".join(grounded(item[1], box, *size) for box in boxes) or item[1]

    size = _size(shots[0].source) if _boxes(texts["evidence"]) else (0, 0)
    said = _ITEM.sub(plain, texts["evidence"])
    return Example(f"{source.path.stem}-{number}", texts["question"], shots, said, texts["answer"])


def _shot(name: str, video: object, source: config.VideoEspresso) -> Moment:
    """Find the picture of a frame and its time: the image file, else the frame of that number in the video."""
    image, film = source.root / name, source.root / str(video) if video else None
    film = film if film and film.is_file() else None
    time = _time(Path(name).stem, name, film, source.rate)
    if image.is_file():
        return Moment(str(image), time)
    if film is None:
        raise _BadRowError(f"{image} is not there" + (f", nor {source.root / str(video)}" if video else ""))
    return Moment(str(film), time)


def _time(stem: str, name: str, film: Path | None, rate: float | None) -> float:
    """Seconds that a frame's name tells: a clock, a position at a rate, or a native index of its video."""
    if clock := _CLOCK.search(stem):
        hours, minutes, seconds, thousandths = map(int, clock.groups())
        return hours * 3600 + minutes * 60 + seconds + thousandths / 1000
    if not stem.isdecimal():
        raise _BadRowError(f"{name}: its name tells no time")
    if rate:
        return int(stem) / rate
    if film is None:
        raise _BadRowError(f"{name}: what its number counts cannot be told without the video; set `rate`")
    times = opened(str(film)).times
    if int(stem) >= len(times):
        raise _BadRowError(f"{name}: the video has {len(times)} frames, so the number is no native index; set `rate`")
    return float(times[int(stem)])


def _boxes(text: str) -> list[tuple[float, ...]]:
    """Every box in a piece of marked-up evidence: the numbers in its brackets, four where all is well."""
    return [
        tuple(float(value) for value in re.findall(r"-?\d+(?:\.\d+)?", box))
        for item in _ITEM.finditer(text)
        for box in re.findall(r"\[([^\[\]]+)\]", item[2] or "")
    ]


def _as_pixels(box: tuple[float, ...], corners: bool, width: int, height: int) -> Box:
    if len(box) != 4:
        raise _BadRowError(f"a box of {len(box)} numbers ({', '.join(f'{value:g}' for value in box)})")
    a, b, c, d = box
    if corners:
        return a, b, c, d
    x, y, w, h = a / 1000, b / 1000, c / 1000, d / 1000
    return ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)


# The procedural world


@dataclass(frozen=True)
class Drawn:
    """A frame of a story of the world that was never filmed. time: seconds."""

    split: Split
    index: int
    time: float

    def pixels(self, size: int) -> np.ndarray:
        """Render it at twice the size and average down, as a filmed one is."""
        return np.array(Image.fromarray(render(_story(self.split, self.index), self.time, 2 * size)).reduce(2))


_story = lru_cache(maxsize=256)(story)


def _world(source: config.World, seed: int, count: int) -> Loaded:
    """Questions in the stories' order. Raises nothing: every story can be told."""
    examples: list[Example] = []
    index = source.first
    while len(examples) < count:
        told = _story(source.split, index)
        rng = np.random.default_rng([seed, index])
        for number, (motif, needed) in enumerate(zip(told.motifs, told.needed, strict=True)):
            if motif.task not in source.tasks:
                continue
            times = _times(told, needed, source, rng)
            shots = tuple(Drawn(source.split, index, time) for time in times)
            said = _evidence(told, times, {told.beats[i].fact for i in needed})
            name = f"{source.split}-{index:05d}-{number}"
            examples.append(Example(name, motif.text, shots, said, motif.answer, tuple(motif.options)))
        index += 1
    return Loaded(tuple(examples[:count]))


def _times(told: Story, needed: Iterable[int], source: config.World, rng: np.random.Generator) -> list[float]:
    """When the question's frames are taken: one in each needed act, some left out, some to spare; or evenly spread."""
    if source.uniform:
        return [round((number + 0.5) * told.duration / source.uniform, 3) for number in range(source.uniform)]
    acts = [told.beats[i] for i in needed]
    times = [rng.uniform(act.start, act.end) for act in acts if rng.random() >= source.missing]
    times += [rng.uniform(0, told.duration) for _ in range(3) if rng.random() < source.spare]
    return sorted(round(float(time), 3) for time in times)


def _evidence(told: Story, times: Sequence[float], facts: set[str]) -> str:
    """What is seen at those times of those facts."""
    seen = [(time, told.caption(time)) for time in times]
    return " ".join(f"{time:.1f}s: {fact}." for time, fact in seen if fact in facts) or "nothing seen."


# What the sources share


def grounded(label: str, box: Box, width: int, height: int) -> str:
    """Write a key item into evidence: "dog [120, 80, 560, 930]", its box in thousandths of the frame's width and height.

    box: xyxy in pixels of a frame of width x height. Thousandths stay true whatever size a model sees the frame at (Qwen-VL's
    own convention). Raises ValueError for a box that is empty or leaves its frame.
    """
    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        told = ", ".join(f"{value:g}" for value in box)
        raise _BadRowError(f"the box of {label!r} ({told}) is empty or out of its frame of {width}x{height}")
    scaled = (x1 / width, y1 / height, x2 / width, y2 / height)
    return f"{label} [{', '.join(str(round(1000 * value)) for value in scaled)}]"


def _size(source: str) -> tuple[int, int]:
    clip = opened(source)
    return clip.width, clip.height


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"{path}: the data cannot be read ({reason}). Correct `path` in the config.") from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
