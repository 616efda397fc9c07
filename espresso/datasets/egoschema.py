"""EgoSchema: what somebody is up to over three minutes of first-person video.

Mangalam, Akshulakov, Malik, "EgoSchema: A Diagnostic Benchmark for Very Long-form Video Language Understanding", NeurIPS
2023. The authors' questions, an object by `q_uid` or a list, five options; only the subset of 500 tells the answers (`truth`,
`answer`).
"""

from __future__ import annotations

from espresso.datasets.base import FileBench, Row
from espresso.schema import Question

OPTIONS = 5


def _question(row: Row) -> Question:
    options = tuple(str(row[f"option {number}"]).strip() for number in range(OPTIONS))
    truth = row["truth"] if "truth" in row else row["answer"]
    return Question(
        id=row["q_uid"],
        visuals=(row["q_uid"],),
        text=row["question"].strip(),
        options=options,
        answer=options[int(truth)],
    )


BENCH = FileBench(_question)
