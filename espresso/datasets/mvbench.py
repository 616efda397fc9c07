"""MVBench: twenty kinds of temporal questions about short videos from eleven sets.

Li et al., "MVBench: A Comprehensive Multi-modal Video Understanding Benchmark", CVPR 2024. One of
the authors' `json/*.json`, one file per kind. A question about a part of a video (`start`, `end`)
is asked about the whole video, because clips are not cut. The frame folders of `tvqa` are not
videos and are reported as missing.
"""

from __future__ import annotations

from hashlib import sha256

from espresso.datasets.base import FileDataset
from espresso.datasets.fields import text, texts
from espresso.datasets.rows import RawRow
from espresso.schema import Question


def _read(row: RawRow) -> Question:
    return Question(
        id=sha256(f"{row['video']}\n{row['question']}\n{row.get('start')}".encode()).hexdigest()[:12],
        visuals=(text(row, "video"),),
        text=text(row, "question"),
        options=texts(row, "candidates"),
        answer=text(row, "answer"),
    )


DATASET = FileDataset("mvbench", _read)
