"""NExT-QA, multiple choice: why and how things happen in everyday videos, and when.

Xiao, Shang, Yao, Chua, "NExT-QA: Next Phase of Question-Answering to Explaining Temporal Actions", CVPR 2021. The authors'
`val.csv` or `test.csv`; five options; kinds such as CW (causal, why), TN (temporal, next), DC (descriptive, count).
"""

from __future__ import annotations

from espresso.datasets.base import FileBench, Row
from espresso.schema import Question

OPTIONS = 5


def _question(row: Row) -> Question:
    options = tuple(str(row[f"a{number}"]).strip() for number in range(OPTIONS))
    return Question(
        id=f"{row['video']}-{row['qid']}",
        visuals=(str(row["video"]),),
        text=str(row["question"]).strip(),
        options=options,
        task=str(row["type"]),
        answer=options[int(row["answer"])],
    )


BENCH = FileBench(_question)
