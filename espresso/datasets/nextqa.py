"""NExT-QA, multiple choice: why and how things happen in everyday videos.

Xiao, Shang, Yao, Chua, "NExT-QA: Next Phase of Question-Answering to Explaining Temporal Actions",
CVPR 2021. The authors' `train.csv`, `val.csv` or `test.csv`: five options, and types such as CW
(causal, why), TN (temporal, next) and DC (descriptive, count).
"""

from __future__ import annotations

from espresso.datasets.base import FileDataset
from espresso.datasets.rows import RawRow, by_index
from espresso.schema import Question

OPTIONS = 5


def _read(row: RawRow) -> Question:
    options = tuple(str(row[f"a{number}"]).strip() for number in range(OPTIONS))
    return Question(
        id=f"{row['video']}-{row['qid']}",
        visuals=(str(row["video"]),),
        text=str(row["question"]).strip(),
        options=options,
        task=str(row["type"]),
        answer=by_index(options, row["answer"]),
    )


DATASET = FileDataset("nextqa", _read)
