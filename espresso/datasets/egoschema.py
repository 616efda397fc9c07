"""EgoSchema: questions about three minutes of first-person video.

Mangalam, Akshulakov, Malik, "EgoSchema: A Diagnostic Benchmark for Very Long-form Video Language
Understanding", NeurIPS 2023. The authors' questions, a JSON object by `q_uid` or a list: five
options; only the subset of 500 has answers (`truth` or `answer`, an index).
"""

from __future__ import annotations

from espresso.datasets.base import FileDataset
from espresso.datasets.rows import RawRow, by_index
from espresso.schema import Question

OPTIONS = 5


def _read(row: RawRow) -> Question:
    options = tuple(str(row[f"option {number}"]).strip() for number in range(OPTIONS))
    return Question(
        id=row["q_uid"],
        visuals=(row["q_uid"],),
        text=row["question"].strip(),
        options=options,
        answer=by_index(options, row["truth"] if "truth" in row else row["answer"]),
    )


DATASET = FileDataset("egoschema", _read)
