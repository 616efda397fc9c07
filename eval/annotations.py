"""Compare constructed questions about clips of the procedural world with the clips' record.

`espresso eval annotations data.jsonl` tells what automatic data is worth where the truth is known:
the share of true answers, core frames, times and boxes. It reads the output of `espresso annotate`
and the JSON file next to each clip; nothing that constructs questions does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from agents.annotate.dataset.output import rejected_file
from agents.annotate.records import RejectedPair
from espresso.datasets import records
from espresso.errors import DataError
from espresso.log import read_lines
from espresso.schema import Box, KeyItem, Question, Record, Task
from espresso.world.check import Conclusion, conclude
from eval.stats import interval, mean_interval


class Share(Record):
    """A share or mean with its 95 % interval, robust to clusters of questions about one clip."""

    value: float

    low: float

    high: float

    n: int


class AnnotationScores(Record):
    """How constructed questions compare with the clips' record."""

    questions: int

    clips: int

    true: Share
    """Questions with the only true answer."""

    tasks: dict[Task, Share]
    """The same by task."""

    false_options: Share | None
    """Wrong options that are wrong; None without options."""

    core_precision: Share | None
    """Core frames that lie in an act that the answer follows from, over questions with a true
    answer; None if there are none."""

    core_recall: Share | None
    """Acts that the answer follows from that a core frame shows."""

    time_error: float | None
    """Median distance in seconds of a core frame from the middle of the act that it was cited for;
    None if no cited caption is true."""

    time_n: int
    """Core frames that were cited for a true act."""

    box_iou: Share | None
    """Overlap of the kept boxes with the true ones; a box of a thing that is not there counts as 0.
    None without boxes."""

    boxes_kept: Share | None
    """Key items in core frames that kept a box; None without key items."""

    rejected: dict[str, Share]
    """Node -> share of the pairs that it rejected although their answer is true."""


RIGHT_IOU = 0.5
"""Overlap with the true box from which a box is right."""


class BoxScores(Record):
    """How the boxes of key items compare with the clips' record."""

    kept: Share | None
    """Key items that have a box; None without key items."""

    iou: Share | None
    """Overlap of the boxes with the true ones; a box of a thing that is not there counts as 0. None
    without boxes."""

    right: Share | None
    """Boxes that overlap with the true one by `RIGHT_IOU` or more."""

    found: Share | None
    """Key items that their frame shows and that have a right box."""


def score_boxes(items: Sequence[tuple[KeyItem, str]]) -> BoxScores:
    """Score key items, each with the path of its clip.

    Raises:
        DataError: a clip has no record.
    """
    overlaps = [(_overlap(item, clip), clip) for item, clip in items if item.box]
    shown = [(_overlap(item, clip) >= RIGHT_IOU, clip) for item, clip in items if _true_box(item, clip)]
    return BoxScores(
        kept=_shares([(item.box is not None, clip) for item, clip in items]),
        iou=_mean(overlaps),
        right=_shares([(overlap >= RIGHT_IOU, clip) for overlap, clip in overlaps]),
        found=_shares(shown),
    )


def score_annotations(data: Path) -> AnnotationScores:
    """Score a file of constructed questions about clips of the world.

    Raises:
        DataError: a file cannot be read, it has no question, or a clip has no record.
    """
    questions = records.read(data)
    found = [_conclude(question.visuals[0], question.text, str(question.answer)) for question in questions]
    right = [each is not None and each.answer == question.answer for each, question in zip(found, questions, strict=True)]
    clips = [question.visuals[0] for question in questions]
    wrong = [(option, question) for question in questions for option in question.options or () if option != question.answer]
    hits, covered, errors = list[tuple[bool, str]](), list[tuple[bool, str]](), list[float]()
    for question, conclusion, is_true in zip(questions, found, right, strict=True):
        errors += _time_errors(question)
        if conclusion and is_true:
            hits += [(hit, question.visuals[0]) for hit in _in_needed(question, conclusion)]
            covered += [(hit, question.visuals[0]) for hit in _covered(question, conclusion)]
    items = [(item, question.visuals[0]) for question in questions if question.truth for item in question.truth.key_items]
    boxes = score_boxes(items)
    return AnnotationScores(
        questions=len(questions),
        clips=len(set(clips)),
        true=_share(right, clips),
        tasks=_by(right, clips, [Task.parse(str(question.task)) for question in questions]),
        false_options=_shares([(not _is_true(question, option), question.visuals[0]) for option, question in wrong]),
        core_precision=_shares(hits),
        core_recall=_shares(covered),
        time_error=round(median(errors), 3) if errors else None,
        time_n=len(errors),
        box_iou=boxes.iou,
        boxes_kept=boxes.kept,
        rejected=_score_rejected(data),
    )


def table_rows(scores: AnnotationScores) -> list[tuple[str, str, str, str]]:
    """Return the rows of a table: name, value, interval, n."""
    named = {
        "true answers": scores.true,
        **{f"  {task}": share for task, share in scores.tasks.items()},
        "wrong options that are wrong": scores.false_options,
        "core frames in a needed act": scores.core_precision,
        "needed acts with a core frame": scores.core_recall,
        "key items with a box": scores.boxes_kept,
        "box IoU": scores.box_iou,
        **{f"true among those rejected by {node}": share for node, share in scores.rejected.items()},
    }
    rows = [(name, f"{each.value:.3f}", f"{each.low:.3f}-{each.high:.3f}", str(each.n)) for name, each in named.items() if each]
    time = "" if scores.time_error is None else f"{scores.time_error:.2f} s"
    return [*rows, ("median distance of a core frame from the middle of its act", time, "", str(scores.time_n))]


def _score_rejected(data: Path) -> dict[str, Share]:
    file = rejected_file(data)
    pairs = read_lines(file, RejectedPair) if file.is_file() else []
    right, clips = [], []
    for pair in pairs:
        clip = str(data.parent / pair.visuals[0])
        found = _conclude(clip, pair.text, pair.answer)
        right.append(found is not None and found.answer == pair.answer)
        clips.append(clip)
    return _by(right, clips, [pair.node for pair in pairs])


def _by(right: Sequence[bool], clips: Sequence[str], kinds: Sequence[Any]) -> dict[Any, Share]:
    chosen = {kind: [position for position, each in enumerate(kinds) if each == kind] for kind in sorted(set(kinds))}
    return {kind: _share([right[i] for i in positions], [clips[i] for i in positions]) for kind, positions in chosen.items()}


def _share(values: Sequence[bool], clips: Sequence[str]) -> Share:
    low, high = interval(values, clips)
    return Share(value=sum(values) / len(values), low=low, high=high, n=len(values))


def _shares(values: Sequence[tuple[bool, str]]) -> Share | None:
    return _share([value for value, _ in values], [clip for _, clip in values]) if values else None


def _mean(values: Sequence[tuple[float, str]]) -> Share | None:
    if not values:
        return None
    numbers = [value for value, _ in values]
    low, high = mean_interval(numbers, [clip for _, clip in values], within=(0.0, 1.0))
    return Share(value=float(np.mean(numbers)), low=low, high=high, n=len(numbers))


@lru_cache(maxsize=64)
def _record(clip: str) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(Path(clip).with_suffix(".json").read_bytes())
        _ = record["acts"], record["frames"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{clip}: no record of what it shows next to it. Score questions about clips that `espresso world make` wrote."
        ) from None
    return record


def _conclude(clip: str, question: str, answer: str) -> Conclusion | None:
    return conclude(_record(clip)["acts"], question, answer)


def _is_true(question: Question, answer: str) -> bool:
    found = _conclude(question.visuals[0], question.text, answer)
    return found is not None and found.answer == answer


def _middles(question: Question) -> list[float]:
    """Return the times of the core frames, as training and evaluation use them."""
    return [(span.start + span.end) / 2 for span in question.truth.spans] if question.truth else []


def _in_needed(question: Question, conclusion: Conclusion) -> list[bool]:
    needed = [_record(question.visuals[0])["acts"][i] for i in conclusion.needed]
    return [any(act["start"] <= time <= act["end"] for act in needed) for time in _middles(question)]


def _covered(question: Question, conclusion: Conclusion) -> list[bool]:
    needed, times = [_record(question.visuals[0])["acts"][i] for i in conclusion.needed], _middles(question)
    return [any(act["start"] <= time <= act["end"] for time in times) for act in needed]


def _time_errors(question: Question) -> list[float]:
    """Return the distance of each core frame from the middle of the nearest act of its caption."""
    acts, errors = _record(question.visuals[0])["acts"], list[float]()
    for time, fact in zip(_middles(question), question.truth.facts if question.truth else (), strict=True):
        middles = [(act["start"] + act["end"]) / 2 for act in acts if act["fact"] == fact]
        errors += [min(abs(time - middle) for middle in middles)] if middles else []
    return errors


def _overlap(item: KeyItem, clip: str) -> float:
    """Return the intersection over union of a box with the true one."""
    true = _true_box(item, clip)
    return iou(item.box, true) if item.box and true else 0.0


def _true_box(item: KeyItem, clip: str) -> Box | None:
    """Return the box of a thing in the nearest record; None if the frame does not show it."""
    nearest = min(_record(clip)["frames"], key=lambda frame: abs(frame["time"] - item.frame.time))
    true = nearest["boxes"].get(item.label)
    return tuple(true) if true else None


def iou(one: Box, other: Box) -> float:
    """Return the intersection over union of two xyxy boxes, 0 to 1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = _area(one) + _area(other) - shared
    return shared / union if union > 0 else 0.0


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
