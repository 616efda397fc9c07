"""Preferences of people between two answers, in the formats they are published in, and how far people and judges agree.

- PandaLM (Wang et al., "PandaLM: An Automatic Evaluation Benchmark for LLM Instruction Tuning Optimization", 2023): a JSON list
  of pairs with three annotators' choices (0 a tie, 1, 2), and beside it files of judges' verdicts on the same pairs.
- FairEval (Wang et al., "Large Language Models are not Fair Evaluators", 2023): `review_A_B_human.txt`, a line a question, with
  the questions and the answers of A and B in JSON lines beside it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from espresso.errors import DataError
from espresso.schema import Record
from eval.stats import agreement, interval, kappa

Choice = Literal["first", "second", "tie"]
_PANDALM: dict[int, Choice] = {0: "tie", 1: "first", 2: "second"}
_CODES = {"first": 1.0, "second": 2.0, "tie": 0.0}
_NAME = re.compile(r"review_(?P<first>[^_]+)_(?P<second>[^_]+)_human\.txt$")


@dataclass(frozen=True)
class Pair:
    """Two answers to a question. people: each annotator's choice. judges: name -> a recorded judge's choice."""

    id: str
    question: str
    first: str
    second: str
    people: tuple[Choice, ...]
    judges: dict[str, Choice] = field(default_factory=dict)

    @property
    def majority(self) -> Choice | None:
        """What more than half of the people chose; None where they chose three things."""
        choice, count = Counter(self.people).most_common(1)[0]
        return choice if 2 * count > len(self.people) else None


class JudgeAgreement(Record):
    """How far a judge agrees with the majority of people, over n pairs that have one: share with 95 % interval, Cohen's kappa."""

    judge: str
    n: int
    agree: float
    low: float
    high: float
    kappa: float | None


class Agreement(Record):
    """People and judges over one file. alpha: Krippendorff's among people, nominal; None where each pair has one opinion.

    majorities: pairs on which more than half agree.
    """

    source: str
    pairs: int
    people: int
    alpha: float | None
    majorities: int
    judges: tuple[JudgeAgreement, ...]


def read(path: Path) -> list[Pair]:
    """Read a file of labels, whichever of the formats it has. Raises DataError for one that cannot be read or is neither."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"{path}: the labels cannot be read ({reason}). Give PandaLM's test set or FairEval's review.") from None
    loader: Callable[[Path, str], list[Pair]] = _faireval if path.suffix == ".txt" else _pandalm
    try:
        return loader(path, text)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise DataError(f"{path}: neither PandaLM's test set nor FairEval's review ({what}). Give one of them.") from None


def agreements(source: str, pairs: Sequence[Pair]) -> Agreement:
    """Measure how far people agree with one another, and each judge with most of them."""
    settled = [pair for pair in pairs if pair.majority]
    judges = dict.fromkeys(judge for pair in settled for judge in pair.judges)
    return Agreement(
        source=source,
        pairs=len(pairs),
        people=max(len(pair.people) for pair in pairs),
        alpha=agreement([[_CODES[choice] for choice in pair.people] for pair in pairs], "nominal"),
        majorities=len(settled),
        judges=tuple(_agreement(judge, [pair for pair in settled if judge in pair.judges]) for judge in judges),
    )


def _agreement(judge: str, pairs: Sequence[Pair]) -> JudgeAgreement:
    chosen, most = [pair.judges[judge] for pair in pairs], [pair.majority for pair in pairs]
    same = [one == other for one, other in zip(chosen, most, strict=True)]
    low, high = interval(same, [pair.id for pair in pairs])
    return JudgeAgreement(judge=judge, n=len(pairs), agree=sum(same) / len(same), low=low, high=high, kappa=kappa(chosen, most))


def _pandalm(path: Path, text: str) -> list[Pair]:
    """PandaLM's test set, with the verdicts of the judges whose files lie beside it ("..._result" of the same "idx")."""
    rows = json.loads(text)
    recorded = dict[str, dict[int, Choice]]()
    for file in sorted(path.parent.glob("*.json")):
        if file != path and (found := _verdicts(json.loads(file.read_text(encoding="utf-8")))):
            recorded[file.stem.removeprefix("pandalm_")] = found
    return [
        Pair(
            id=str(row["idx"]),
            question=f"{row['instruction']}\n{row['input']}".strip(),
            first=row["response1"],
            second=row["response2"],
            people=tuple(_PANDALM[int(row[f"annotator{number}"])] for number in (1, 2, 3)),
            judges={judge: found[row["idx"]] for judge, found in recorded.items() if row["idx"] in found},
        )
        for row in rows
    ]


def _verdicts(rows: Any) -> dict[int, Choice]:
    """A judge's choices by pair; what could not be read as one ("garbage") is left out. Empty for a file of something else."""
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict):
        return {}
    name = next((key for key in rows[0] if key.endswith("_result")), None)
    known = {str(code): choice for code, choice in _PANDALM.items()} | {"Tie": "tie"}
    return {row["idx"]: known[str(row[name])] for row in rows if name and str(row[name]) in known}


def _faireval(path: Path, text: str) -> list[Pair]:
    """FairEval's review: "TIE", or the name of the model that is better; the first name is ChatGPT's, as in the authors' code."""
    named = _NAME.search(path.name)
    if not named:
        raise ValueError("its name is not review_A_B_human.txt")
    prefix = path.name[: named.start()]
    questions = _lines(path.with_name(f"{prefix}question.jsonl"))
    firsts, seconds = (_lines(path.with_name(f"{prefix}answer_{named[name]}.jsonl")) for name in ("first", "second"))
    said: dict[str, Choice] = {"CHATGPT": "first", "VICUNA13B": "second", "TIE": "tie"}
    return [
        Pair(str(question["question_id"]), question["text"], first["text"], second["text"], (said[choice],))
        for question, first, second, choice in zip(questions, firsts, seconds, text.split(), strict=True)
    ]


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except OSError as error:
        raise ValueError(f"{path.name} beside it cannot be read: {error.strerror}") from None
