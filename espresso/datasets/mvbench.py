"""MVBench: twenty kinds of temporal questions about short videos from eleven sets.

Li et al., "MVBench: A Comprehensive Multi-modal Video Understanding Benchmark", CVPR 2024. One of
the authors' `json/*.json`, one file per kind. A question with `start` and `end` is about this part
of the video, in seconds, and only its frames are shown (`video.mp4#t=4,6`). The frame folders of
`tvqa` are not videos and are reported as missing.
"""

from __future__ import annotations

from hashlib import sha256

from espresso.datasets.base import FileDataset
from espresso.datasets.fields import optional_text, text, texts
from espresso.datasets.rows import RawRow
from espresso.media import segment_source
from espresso.schema import Question


def _read(row: RawRow) -> Question:
    return Question(
        id=sha256(f"{row['video']}\n{row['question']}\n{row.get('start')}".encode()).hexdigest()[:12],
        visuals=(_visual(row),),
        text=text(row, "question"),
        options=texts(row, "candidates"),
        answer=text(row, "answer"),
    )


def _visual(row: RawRow) -> str:
    """Return the name of the video, or of the part that the question is about."""
    start, end = _seconds(row, "start"), _seconds(row, "end")
    if end is not None and end <= (start or 0):
        raise ValueError(f"the part of the video is empty, from {start or 0:g} s to {end:g} s")
    return segment_source(text(row, "video"), start, end)


def _seconds(row: RawRow, field: str) -> float | None:
    """Return the seconds of a field, or None if there are none. Raises ValueError."""
    if not (written := optional_text(row, field)):
        return None
    try:
        seconds = float(written)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"the field {field!r} is {written!r}, not a time in seconds")
    return seconds


DATASET = FileDataset("mvbench", _read)
