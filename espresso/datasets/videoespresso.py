"""VideoEspresso's own test: fourteen kinds of questions whose evidence lies in a few frames; close-ended.

Han et al., "VideoEspresso: A Large-Scale Chain-of-Thought Dataset for Fine-Grained Video Reasoning via Core Frame Selection",
CVPR 2025. The authors' `bench_hard.json` or `bench_final.json`; four options that bring their letters; tasks go by the
paper's names or the leaderboard's. Its evidence is kept for `--given-evidence`, without the marks around key items; its core
frames are files whose names say when they are only beside the videos (`finetune.lora.examples` reads them for training).
"""

from __future__ import annotations

import re
from hashlib import sha256

from espresso.datasets.base import FileBench, Row, lettered
from espresso.schema import Question, Task, Truth


def _question(row: Row) -> Question:
    options = lettered(row["options"])
    answer = str(row["correct_answer"]).strip().strip("()")
    if answer not in options:
        raise ValueError(f"correct_answer is {row['correct_answer']!r}, and the options are {', '.join(options)}")
    said = _MARKS.sub("", str(row.get("evidence") or "")).strip()
    return Question(
        id=sha256(f"{row['video_path']}\n{row['question']}".encode()).hexdigest()[:12],
        visuals=(row["video_path"],),
        text=row["question"].strip(),
        options=tuple(options.values()),
        task=Task.parse(row["task"]),
        answer=options[answer],
        truth=Truth(spans=(), facts=(), evidence=said) if said else None,
    )


_MARKS = re.compile(r"<box_start>.*?<box_end>|</?obj_(?:start|end)>", re.DOTALL)


BENCH = FileBench(_question)
