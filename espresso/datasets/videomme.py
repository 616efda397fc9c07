"""Video-MME: twelve kinds of questions over 900 videos from eleven seconds to an hour, without subtitles.

Fu et al., "Video-MME: The First-Ever Comprehensive Evaluation Benchmark of Multi-modal LLMs in Video Analysis", CVPR 2025.
The authors' Parquet file (or the same rows as JSON); four options that bring their letters; videos are called by `videoID`.
"""

from __future__ import annotations

from espresso.datasets.base import FileBench, Row, lettered
from espresso.schema import Question


def _question(row: Row) -> Question:
    options = lettered(row["options"])
    return Question(
        id=row["question_id"],
        visuals=(row["videoID"],),
        text=row["question"].strip(),
        options=tuple(options.values()),
        task=row["task_type"],
        answer=options[row["answer"].strip()],
    )


BENCH = FileBench(_question)
