"""NExT-QA, multiple choice: why and how things happen in everyday videos.

Xiao, Shang, Yao, Chua, "NExT-QA: Next Phase of Question-Answering to Explaining Temporal Actions",
CVPR 2021. The authors' `train.csv`, `val.csv` or `test.csv`: five options, and types such as CW
(causal, why), TN (temporal, next) and DC (descriptive, count).
"""

from __future__ import annotations

from espresso.datasets.base import FileDataset
from espresso.datasets.fields import by_index, text
from espresso.datasets.rows import RawRow
from espresso.schema import Question

OPTIONS = 5


def _read(row: RawRow) -> Question:
    options = tuple(text(row, f"a{number}") for number in range(OPTIONS))
    video = text(row, "video")
    return Question(
        id=f"{video}-{text(row, 'qid')}",
        visuals=(video,),
        text=text(row, "question"),
        options=options,
        task=text(row, "type"),
        answer=by_index(options, row, "answer"),
    )


DATASET = FileDataset("nextqa", _read)
