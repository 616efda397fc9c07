"""Video-MME: twelve kinds of questions about 900 videos of 11 s to 1 h, without subtitles.

Fu et al., "Video-MME: The First-Ever Comprehensive Evaluation Benchmark of Multi-modal LLMs in
Video Analysis", CVPR 2025. The authors' Parquet file, or the same rows as JSON: four options that
start with their letters; a video file is named by `videoID`.
"""

from __future__ import annotations

from espresso.datasets.base import FileDataset
from espresso.datasets.fields import by_letter, split_letters, text, texts
from espresso.datasets.rows import RawRow
from espresso.schema import Question


def _read(row: RawRow) -> Question:
    options = split_letters(texts(row, "options"))
    return Question(
        id=text(row, "question_id"),
        visuals=(text(row, "videoID"),),
        text=text(row, "question"),
        options=tuple(options.values()),
        task=text(row, "task_type"),
        answer=by_letter(options, row, "answer"),
    )


DATASET = FileDataset("videomme", _read)
