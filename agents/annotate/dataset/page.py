"""Write an HTML page to review a constructed dataset: keep or drop each question by key press.

`espresso annotate page data.jsonl` writes it. The page shows each question with its options,
evidence and core frames, the boxes of key items drawn on them, and each rejected pair with the
reason. It is a single file with embedded pictures, looks like the run report (`eval.report.html`)
and loads nothing from the network. Its script renders only the questions in view. The browser
stores the decisions, and the page saves them as `data.decisions.json`, which `export` honours.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import sqrt
from pathlib import Path, PurePath
from typing import Literal

from pydantic import Field, TypeAdapter

from agents.annotate.dataset.output import core_index, read, rejected_file
from agents.annotate.records import RejectedPair
from espresso import media, report
from espresso.datasets import records
from espresso.datasets.rows import reason
from espresso.errors import DataError, MediaError
from espresso.files import write_atomic
from espresso.media import Media
from espresso.schema import Box, KeyItem, Question, Record

PICTURE_PX = 320
"""Longest side in pixels of the pictures."""

MAX_PICTURES = 4_000
"""Number of pictures at full size, about 30 MB of photographs. More pictures are smaller."""

MIN_PICTURE_PX = 96
"""Longest side in pixels of the smallest pictures."""

Decisions = dict[str, Literal["keep", "drop"]]
"""Id of a question or rejected pair -> the decision of a reviewer."""


class PageItem(Record):
    """A key item in a frame."""

    label: str

    score: str = ""
    """Confidence of the detector or verifier, 0 to 1."""

    place: Box | None = None
    """Left, top, width and height of its box in percent of the frame."""

    note: str = ""
    """Why there is no box to draw."""


class PageFrame(Record):
    """A core frame."""

    index: int
    """Index of the frame in the video."""

    time: str
    """Time of the frame with its unit."""

    captions: tuple[str, ...]
    """The captions that the evidence cites for it."""

    items: tuple[PageItem, ...]


class PageVisual(Record):
    """A video of a question, with the question's core frames."""

    name: str
    """Name of the file."""

    path: str
    """Path of the file, relative to the dataset's folder if it is inside."""

    clip: int | None = None
    """Position of its pictures among `Clip`s; None for a rejected pair."""

    frames: tuple[PageFrame, ...] = ()
    """In time order."""


class Clip(Record):
    """A video with the decoded frames that questions need."""

    width: int = 0
    """Width of a frame in pixels."""

    height: int = 0
    """Height of a frame in pixels."""

    pictures: dict[int, str] = Field(default_factory=dict)
    """Frame index -> picture as a `data:` URL."""

    problem: str | None = None
    """Why the video cannot be shown."""


class Entry(Record):
    """A question or a rejected pair."""

    id: str

    task: str | None

    question: str
    """Text of the question."""

    options: tuple[str, ...] | None = None

    answer: str | None

    evidence: str | None = None

    visuals: tuple[PageVisual, ...]

    node: str | None = None
    """The node that rejected the pair; None for a question."""

    reason: str | None = None
    """Why it was rejected."""


def write_page(data: Path, out: Path, *, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Write the page to review a dataset on, replacing an existing one.

    Earlier decisions are loaded into it if they are in `<data>.decisions.json`.

    Args:
        data: JSONL file of questions that `annotate` wrote; the rejected pairs are beside it.
        out: the HTML file.
        on_progress: called with (videos done, all videos) after each decoded video.

    Raises:
        DataError: a file cannot be read, there is nothing to review, or the page cannot be written.
    """
    out, rejects, decided = report.check(out), rejected_file(data), _decisions_file(data)
    if out.resolve() in (file.resolve() for file in (data, rejects, decided)):
        raise DataError(f"{out}: is a file of the dataset. Give --out another name, such as {data.with_suffix('.html')}.")
    report.save(out, page_html(data, on_progress=on_progress))


def page_html(data: Path, *, save: str | None = None, on_progress: Callable[[int, int], None] = lambda done, total: None) -> str:
    """Render the page to review a dataset on, see `write_page`.

    Args:
        data: JSONL file of questions that `annotate` wrote; the rejected pairs are beside it.
        save: URL to which the page posts each decision at once, as JSON {id: "keep", "drop" or
            "undecided"}. None is a page without a server: the browser stores the decisions.
        on_progress: called with (videos done, all videos) after each decoded video.

    Raises:
        DataError: a file cannot be read, or there is nothing to review.
    """
    rejects, decided = rejected_file(data), _decisions_file(data)
    questions, rejected = read(data)
    decisions = read_decisions(decided) if decided.exists() else {}
    entries, clips = _questions(questions, data.parent, on_progress)
    entries += [_rejected(pair) for pair in rejected]
    return report.template(Path(__file__).with_name("review.html.jinja")).render(
        name=data.name,
        file=decided.name,
        save=save,
        questions=len(questions),
        videos=len({visual for question in questions for visual in question.visuals}),
        rejected=Counter(pair.node for pair in rejected),
        tasks=list(dict.fromkeys(entry.task for entry in entries if entry.task)),
        data={
            "key": f"espresso-review-{_digest(data, rejects)}",
            "file": decided.name,
            "server": save,
            "decisions": list(decisions.items()),
            "entries": [entry.model_dump(exclude_none=True) for entry in entries],
            "clips": [clip.model_dump(exclude_none=True) for clip in clips],
        },
    )


def _decisions_file(data: Path) -> Path:
    return data.with_suffix(".decisions.json")


def write_decisions(path: Path, decisions: Decisions) -> None:
    """Write decisions as the page saves them. Raises DataError."""
    try:
        write_atomic(path, json.dumps(decisions, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    except OSError as error:
        raise DataError(f"{path}: cannot write the decisions ({error.strerror}). Check the folder and the disk space.") from None


def read_decisions(path: Path) -> Decisions:
    """Read the decisions that the page saved.

    Raises:
        DataError: the file cannot be read, or is not an object of "keep" and "drop" by id.
    """
    try:
        return TypeAdapter(Decisions).validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else reason(error)
        raise DataError(f"{path}: cannot read the decisions ({why}). Save them again on the review page, or remove it.") from None


def _digest(*files: Path) -> str:
    """Return a digest of the dataset, by which the browser finds the decisions about it."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes() if file.is_file() else b"").digest())
    return digest.hexdigest()[:32]


def _rejected(pair: RejectedPair) -> Entry:
    return Entry(
        id=pair.id,
        task=pair.task,
        question=pair.text,
        answer=pair.answer,
        visuals=tuple(PageVisual(name=PurePath(visual).name, path=visual) for visual in pair.visuals),
        node=pair.node,
        reason=pair.reason,
    )


def _questions(
    questions: Sequence[Question], folder: Path, on_progress: Callable[[int, int], None]
) -> tuple[list[Entry], list[Clip]]:
    """Decode the core frames of all questions; return the entries and the videos they refer to."""
    wanted = dict[str, list[tuple[int, int]]]()
    for number, question in enumerate(questions):
        for position, visual in enumerate(question.visuals):
            wanted.setdefault(visual, []).append((number, position))
    size = _picture_size(questions)

    def show(source: str) -> tuple[Clip, dict[tuple[int, int], tuple[PageFrame, ...]]]:
        try:
            clip = media.open(source)
            frames = {(number, position): _frames(questions[number], position, clip) for number, position in wanted[source]}
            indices = sorted({each.index for shown in frames.values() for each in shown if each.index < len(clip.times)})
            pixels = clip.decode(indices, size=size)
        except MediaError as error:
            return Clip(problem=str(error)), {}
        pictures = {index: media.thumbnail_url(each) for index, each in zip(indices, pixels, strict=True)}
        return Clip(width=clip.width, height=clip.height, pictures=pictures), frames

    clips, frames = list[Clip](), dict[tuple[int, int], tuple[PageFrame, ...]]()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for clip, shown in threads.map(show, wanted):
            clips.append(clip)
            frames |= shown
            on_progress(len(clips), len(wanted))
    numbers = {source: number for number, source in enumerate(wanted)}
    return [_entry(question, number, numbers, frames, folder) for number, question in enumerate(questions)], clips


def _picture_size(questions: Sequence[Question]) -> int:
    spans = {
        (question.visuals, span.visual, span.start, span.end)
        for question in questions
        for span in (question.truth.spans if question.truth else ())
    }
    return max(MIN_PICTURE_PX, int(PICTURE_PX * sqrt(min(1.0, MAX_PICTURES / max(1, len(spans))))))


def _entry(
    question: Question,
    number: int,
    clips: Mapping[str, int],
    frames: Mapping[tuple[int, int], tuple[PageFrame, ...]],
    folder: Path,
) -> Entry:
    return Entry(
        id=question.id,
        task=question.task,
        question=question.text,
        options=question.options,
        answer=question.answer,
        evidence=question.truth.evidence if question.truth else None,
        visuals=tuple(
            PageVisual(
                name=PurePath(visual).name,
                path=records.portable_path(visual, folder),
                clip=clips[visual],
                frames=frames.get((number, position), ()),
            )
            for position, visual in enumerate(question.visuals)
        ),
    )


def _frames(question: Question, position: int, clip: Media) -> tuple[PageFrame, ...]:
    """Return the core frames of a question in one of its visuals; see `core_index`."""
    truth = question.truth
    if truth is None:
        return ()
    items = dict[int, list[KeyItem]]()
    for item in truth.key_items:
        if item.frame.visual == position:
            items.setdefault(item.frame.index, []).append(item)
    captions: dict[int, list[str]] = {index: [] for index in items}
    for number, span in enumerate(truth.spans):
        if span.visual != position:
            continue
        index = core_index(span, truth.key_items, clip.times)
        captions.setdefault(index, []).extend(truth.facts[number : number + 1])
    return tuple(
        PageFrame(
            index=index,
            time=f"{clip.times[index]:.2f} s" if index < len(clip.times) else f"frame {index}",
            captions=tuple(dict.fromkeys(captions[index])),
            items=tuple(_item(item, clip.width, clip.height) for item in items.get(index, ())),
        )
        for index in sorted(captions)
    )


def _item(item: KeyItem, width: int, height: int) -> PageItem:
    if item.box is None:
        return PageItem(label=item.label, note="no box")
    scale = (width, height, width, height)
    x1, y1, x2, y2 = (min(max(100 * value / side, 0.0), 100.0) for value, side in zip(item.box, scale, strict=True))
    score = "" if item.score is None else f"{item.score:.2f}"
    if not (x1 < x2 and y1 < y2):
        return PageItem(label=item.label, score=score, note="its box is empty or outside the frame")
    return PageItem(label=item.label, score=score, place=(round(x1, 3), round(y1, 3), round(x2 - x1, 3), round(y2 - y1, 3)))
