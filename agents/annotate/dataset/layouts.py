"""The layouts of an export: VideoEspresso's JSON rows, and Parquet for Hugging Face `datasets`."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from agents.annotate.dataset.output import core_index
from espresso.datasets.boxes import without_marks
from espresso.media import Media
from espresso.schema import Box, Question, Span, Truth, letter


@dataclass(frozen=True)
class ExportRow:
    """A question to export, with what its record may lack."""

    question: Question

    truth: Truth

    answer: str

    clip: Media

    split: str
    """`train` or `test`."""


def core_frames(row: ExportRow) -> list[tuple[int, Span, str]]:
    """Return native frame index, span and caption of each core frame; see `core_index`."""
    captions = dict(enumerate(row.truth.facts))
    return [
        (core_index(span, row.truth.key_items, row.clip.times), span, captions.get(number, ""))
        for number, span in enumerate(row.truth.spans)
    ]


# VideoEspresso's layout


def train_row(row: ExportRow, place: str) -> dict[str, Any]:
    """Return an open question as in VideoEspresso's training file; `place` is its video's path."""
    return {
        "question": row.question.text,
        "answer": row.answer,
        "task": str(row.question.task),
        "video_path": place,
        "keyframe_path": _frame_names(row, place),
        "evidence": _marked(row.truth),
    }


def test_row(row: ExportRow, place: str) -> dict[str, Any]:
    """Return a question as in VideoEspresso's test file, with its options; see `train_row`."""
    closed = dict[str, Any]()
    if options := row.question.options:
        closed["correct_answer"] = f"({letter(options.index(row.answer))})"
        closed["options"] = [f"({letter(position)}): {option}" for position, option in enumerate(options)]
    return {
        "core_frames_paths": _frame_names(row, place),
        "core_frames_captions": [caption for _, _, caption in core_frames(row)],
        "question": row.question.text,
        "answer": row.truth.answer or row.answer,
        "key_items": list(dict.fromkeys(item.label for item in row.truth.key_items)),
        "evidence": _marked(row.truth),
        "task": str(row.question.task),
        "video_path": place,
        **closed,
    }


def _frame_names(row: ExportRow, place: str) -> list[str]:
    """Return the names of the core frames: `core_frames/<source>/<video>/<native index>.jpg`."""
    folder = PurePosixPath("core_frames", *PurePosixPath(place).with_suffix("").parts[1:])
    return [f"{folder}/{index}.jpg" for index, _, _ in core_frames(row)]


def _marked(truth: Truth) -> str:
    """Return the evidence with marks around the first mention of each key item, and its boxes.

    Key items that are not mentioned follow the evidence.
    """
    boxes = dict[str, list[Box]]()
    names = dict[str, str]()
    for item in truth.key_items:
        if label := without_marks(item.label):
            names.setdefault(label.casefold(), label)
            boxes.setdefault(label.casefold(), []).extend([item.box] if item.box else [])
    text, mentioned = without_marks(truth.evidence), set[str]()

    def mark(match: re.Match[str]) -> str:
        key = match[0].casefold()
        if key in mentioned or key not in boxes:
            return match[0]
        mentioned.add(key)
        return _mark(match[0], boxes[key])

    if boxes:
        longest_first = "|".join(re.escape(name) for name in sorted(names.values(), key=len, reverse=True))
        text = re.sub(rf"(?<!\w)(?:{longest_first})(?!\w)", mark, text, flags=re.IGNORECASE)
    others = [_mark(name, boxes[key]) for key, name in names.items() if key not in mentioned]
    return f"{text} Key items: {', '.join(others)}.".strip() if others else text


def _mark(label: str, boxes: Sequence[Box]) -> str:
    written = [f"[{', '.join(f'{value:.2f}'.rstrip('0').rstrip('.') for value in box)}]" for box in boxes]
    listed = written[0] if len(written) == 1 else f"[{', '.join(written)}]"
    return f"<obj_start>{label}<obj_end>" + (f"<box_start>{listed}<box_end>" if written else "")


# Parquet


def flat_row(row: ExportRow, place: str) -> dict[str, Any]:
    """Return a row of the Parquet files; see `parquet_file`."""
    question, frames, items = row.question, core_frames(row), row.truth.key_items
    visual = row.clip.visual
    return {
        "id": question.id,
        "video": place,
        "question": question.text,
        "options": list(question.options) if question.options else None,
        "answer": row.answer,
        "answer_index": question.options.index(row.answer) if question.options else None,
        "task": str(question.task) if question.task else None,
        "evidence": row.truth.evidence,
        "core_frame_indices": [index for index, _, _ in frames],
        "core_frame_times": [float(row.clip.times[index]) for index, _, _ in frames],
        "core_frame_starts": [span.start for _, span, _ in frames],
        "core_frame_ends": [span.end for _, span, _ in frames],
        "core_frame_captions": [caption for _, _, caption in frames],
        "key_item_labels": [item.label for item in items],
        "key_item_frame_indices": [item.frame.index for item in items],
        "key_item_boxes": [list(item.box) if item.box else None for item in items],
        "key_item_scores": [item.score for item in items],
        "video_width": visual.width,
        "video_height": visual.height,
        "video_fps": visual.fps,
        "video_duration": visual.duration,
        "video_digest": visual.digest,
    }


def parquet_file(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return rows as a Parquet file for `datasets.load_dataset`; the card describes the columns."""
    import datasets  # noqa: PLC0415 - takes seconds
    from pyarrow import Table, parquet  # type: ignore[import-untyped]  # noqa: PLC0415

    text, whole, number = datasets.Value("string"), datasets.Value("int64"), datasets.Value("float64")
    lists = datasets.List
    features = datasets.Features(
        {
            "id": text, "video": text, "question": text, "options": lists(text), "answer": text, "answer_index": whole,
            "task": text, "evidence": text, "core_frame_indices": lists(whole), "core_frame_times": lists(number),
            "core_frame_starts": lists(number), "core_frame_ends": lists(number), "core_frame_captions": lists(text),
            "key_item_labels": lists(text), "key_item_frame_indices": lists(whole), "key_item_boxes": lists(lists(number)),
            "key_item_scores": lists(number), "video_width": whole, "video_height": whole, "video_fps": number,
            "video_duration": number, "video_digest": text,
        }
    )  # fmt: skip
    buffer = io.BytesIO()
    parquet.write_table(Table.from_pylist(list(rows), schema=features.arrow_schema), buffer)
    return buffer.getvalue()
