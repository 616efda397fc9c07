"""MVBench: twenty kinds of temporal questions over eleven sets of short videos.

Li et al., "MVBench: A Comprehensive Multi-modal Video Understanding Benchmark", CVPR 2024. One of the authors' `json/*.json`,
which is a kind each. Of questions about a part of a video (`start`, `end`) the whole is asked about, as nothing here cuts it
out; those of `tvqa` are about folders of frames, which are not videos.
"""

from __future__ import annotations

from hashlib import sha256

from espresso.datasets.base import FileBench, Row
from espresso.schema import Question


def _question(row: Row) -> Question:
    options = tuple(str(option).strip() for option in row["candidates"])
    name = sha256(f"{row['video']}\n{row['question']}\n{row.get('start')}".encode()).hexdigest()[:12]
    return Question(
        id=name,
        visuals=(row["video"],),
        text=row["question"].strip(),
        options=options,
        answer=str(row["answer"]).strip(),
    )


BENCH = FileBench(_question)
