"""Human preferences between two answers, and how well judges agree with them.

- PandaLM (Wang et al., "PandaLM: An Automatic Evaluation Benchmark for LLM Instruction Tuning
  Optimization", 2023): a JSON list of pairs with the choices of three annotators (0 a tie, 1, 2).
  Files next to it hold the verdicts of judges on the same pairs.
- FairEval (Wang et al., "Large Language Models are not Fair Evaluators", 2023):
  `review_A_B_human.txt` with one choice per line, next to JSONL files with the questions and the
  answers of A and B.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from espresso.errors import DataError
from espresso.schema import Record
from eval.stats import cohen_kappa, interval, krippendorff_alpha

Choice = Literal["first", "second", "tie"]
_PANDALM_CHOICES: dict[int, Choice] = {0: "tie", 1: "first", 2: "second"}
_FAIREVAL_CHOICES: dict[str, Choice] = {"CHATGPT": "first", "VICUNA13B": "second", "TIE": "tie"}
_CODES = {"first": 1.0, "second": 2.0, "tie": 0.0}
_FAIREVAL_NAME = re.compile(r"review_(?P<first>[^_]+)_(?P<second>[^_]+)_human\.txt$")


@dataclass(frozen=True)
class HumanPair:
    """Two answers to a question, with the choices of people."""

    id: str

    question: str

    first: str
    """The first answer."""

    second: str
    """The second answer."""

    people: tuple[Choice, ...]
    """The choice of each annotator."""

    judges: dict[str, Choice] = field(default_factory=dict)
    """Name of a judge -> its choice."""

    @property
    def majority(self) -> Choice | None:
        """The choice of more than half of the annotators; None if there is none."""
        choice, count = Counter(self.people).most_common(1)[0]
        return choice if 2 * count > len(self.people) else None


class JudgeAgreement(Record):
    """Agreement of a judge with the majority of people."""

    judge: str
    """Name of the judge."""

    n: int
    """Number of pairs with a majority that the judge decided."""

    agree: float
    """Share of these pairs on which the judge agrees with the majority, 0 to 1."""

    low: float
    """Lower end of the 95 % interval of `agree`."""

    high: float
    """Upper end of the 95 % interval of `agree`."""

    kappa: float | None
    """Cohen's kappa between the judge and the majority; None if both always choose the same."""


class HumanAgreement(Record):
    """Agreement among people, and of judges with people, on the pairs of one file."""

    source: str
    """Name of the file."""

    pairs: int
    """Number of pairs."""

    people: int
    """Largest number of annotators of a pair."""

    alpha: float | None
    """Krippendorff's alpha among people, nominal; None if every pair has a single annotator."""

    majorities: int
    """Number of pairs with a majority."""

    judges: tuple[JudgeAgreement, ...]
    """The judges with a choice for at least one of these pairs."""


def read_pairs(path: Path) -> list[HumanPair]:
    """Read a file of human preferences in either format.

    Args:
        path: PandaLM's test set (.json) or FairEval's review (.txt).

    Raises:
        DataError: the file cannot be read, or has neither format.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"{path}: cannot read the labels ({reason}). Give PandaLM's test set or FairEval's review.") from None
    parse: Callable[[Path, str], list[HumanPair]] = _parse_faireval if path.suffix == ".txt" else _parse_pandalm
    try:
        pairs = parse(path, text)
        if not pairs:
            raise ValueError("it has no pairs")
        return pairs
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise DataError(f"{path}: neither PandaLM's test set nor FairEval's review ({reason}). Give one of them.") from None


def human_agreement(source: str, pairs: Sequence[HumanPair]) -> HumanAgreement:
    """Measure how well people agree with each other, and each judge with the majority.

    Args:
        source: name of the file, for the report.
        pairs: one or more pairs.
    """
    decided = [pair for pair in pairs if pair.majority]
    judges = dict.fromkeys(judge for pair in decided for judge in pair.judges)
    return HumanAgreement(
        source=source,
        pairs=len(pairs),
        people=max(len(pair.people) for pair in pairs),
        alpha=krippendorff_alpha([[_CODES[choice] for choice in pair.people] for pair in pairs], "nominal"),
        majorities=len(decided),
        judges=tuple(_judge_agreement(judge, [pair for pair in decided if judge in pair.judges]) for judge in judges),
    )


def _judge_agreement(judge: str, pairs: Sequence[HumanPair]) -> JudgeAgreement:
    choices, majorities = [pair.judges[judge] for pair in pairs], [pair.majority for pair in pairs]
    equal = [choice == majority for choice, majority in zip(choices, majorities, strict=True)]
    low, high = interval(equal, [pair.id for pair in pairs])
    kappa = cohen_kappa(choices, majorities)
    return JudgeAgreement(judge=judge, n=len(pairs), agree=sum(equal) / len(equal), low=low, high=high, kappa=kappa)


def _parse_pandalm(path: Path, text: str) -> list[HumanPair]:
    """Parse PandaLM's test set and the verdicts of the judges in the JSON files next to it."""
    rows = json.loads(text)
    recorded = dict[str, dict[int, Choice]]()
    for file in sorted(path.parent.glob("*.json")):
        with suppress(OSError, ValueError, KeyError, RecursionError):  # any other file may lie there too
            if file != path and (verdicts := _pandalm_verdicts(json.loads(file.read_text(encoding="utf-8-sig")))):
                recorded[file.stem.removeprefix("pandalm_")] = verdicts
    return [
        HumanPair(
            id=str(row["idx"]),
            question=f"{row['instruction']}\n{row['input']}".strip(),
            first=row["response1"],
            second=row["response2"],
            people=tuple(_PANDALM_CHOICES[int(row[f"annotator{number}"])] for number in (1, 2, 3)),
            judges={judge: verdicts[row["idx"]] for judge, verdicts in recorded.items() if row["idx"] in verdicts},
        )
        for row in rows
    ]


def _pandalm_verdicts(rows: Any) -> dict[int, Choice]:
    """Return a judge's choice for each pair; empty for any other file.

    The choice is in the column that ends in "_result". Invalid ones ("garbage") are left out.
    """
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict):
        return {}
    column = next((key for key in rows[0] if key.endswith("_result")), None)
    choices = {str(code): choice for code, choice in _PANDALM_CHOICES.items()} | {"Tie": "tie"}
    return {row["idx"]: choices[str(row[column])] for row in rows if column and str(row[column]) in choices}


def _parse_faireval(path: Path, text: str) -> list[HumanPair]:
    """Parse FairEval's review; ChatGPT is always the first model, as in the authors' code."""
    match = _FAIREVAL_NAME.search(path.name)
    if not match:
        raise ValueError("its name is not review_A_B_human.txt")
    prefix = path.name[: match.start()]
    questions = _read_jsonl(path.with_name(f"{prefix}question.jsonl"))
    firsts, seconds = (_read_jsonl(path.with_name(f"{prefix}answer_{match[name]}.jsonl")) for name in ("first", "second"))
    return [
        HumanPair(str(question["question_id"]), question["text"], first["text"], second["text"], (_FAIREVAL_CHOICES[choice],))
        for question, first, second, choice in zip(questions, firsts, seconds, text.split(), strict=True)
    ]


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except OSError as error:
        raise ValueError(f"cannot read {path.name} next to it: {error.strerror}") from None
