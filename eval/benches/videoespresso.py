"""VideoEspresso's own test: fourteen kinds of questions whose evidence lies in a few frames; close-ended.

Han et al., "VideoEspresso: A Large-Scale Chain-of-Thought Dataset for Fine-Grained Video Reasoning via Core Frame Selection",
CVPR 2025. The authors' `bench_hard.json` or `bench_final.json`; four options that bring their letters; tasks go by the
paper's names or the leaderboard's.
"""

from __future__ import annotations

from hashlib import sha256

from espresso.schema import Question, Task
from eval.benches.files import FileBench, Row, lettered


def _question(row: Row) -> Question:
    options = lettered(row["options"])
    answer = str(row["correct_answer"]).strip().strip("()")
    if answer not in options:
        raise ValueError(f"correct_answer is {row['correct_answer']!r}, and the options are {', '.join(options)}")
    return Question(
        id=sha256(f"{row['video_path']}\n{row['question']}".encode()).hexdigest()[:12],
        visuals=(row["video_path"],),
        text=row["question"].strip(),
        options=tuple(options.values()),
        task=Task.parse(row["task"]),
        answer=options[answer],
    )


BENCH = FileBench(_question)
