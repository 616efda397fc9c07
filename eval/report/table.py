"""Runs side by side: accuracy by task, what a judge says, what they cost, how far each is from the first, which way choices lean.

`espresso eval report RUN...` prints it. Runs are compared on the questions that all of them were asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from agents.judge import CRITERIA
from espresso.errors import DataError
from espresso.schema import TABLE_1, Record, Task, letter
from eval.judge.results import columns, judging_in, verdicts_in
from eval.log.run_folder import Configuration, run_in, samples_in
from eval.metrics import Metrics, Sample, TaskAccuracy, by_task, metrics
from eval.stats import difference

SHOWN = (
    "frames",
    "visual_tokens",
    "tflops",
    "tflops_all",
    "tflops@10",
    "core_precision",
    "core_recall",
    "core_reach",
    "evidence_precision",
    "official_accuracy",
    "seconds",
    "errors",
)
"""The metrics of the table, in its order."""


class Against(Record):
    """How far a run's accuracy is from the first one's: paired difference, its 95 % interval, two-sided p."""

    difference: float
    low: float
    high: float
    p: float


class Lean(Record):
    """Which way choices lean. picked, right: letter as shown -> share of the choices, and of the right answers.

    longest_picked, longest_right: share of the questions with one longest option where it was chosen, and where it is right.
    """

    picked: dict[str, float]
    right: dict[str, float]
    longest_picked: float | None
    longest_right: float | None


class Run(Record):
    """One run among others. asked: how many questions it was asked in all; the rest tells of those that all were asked.

    judge: whose verdicts lie in its folder. verdicts: their means, as in `eval.judge.results.Summary`, over what was scored in all of
    the runs that were judged.
    """

    name: str
    asked: int
    configuration: Configuration
    metrics: Metrics
    tasks: tuple[TaskAccuracy, ...]
    lean: Lean
    against: Against | None
    judge: str | None
    verdicts: Metrics


def compare(folders: Sequence[Path]) -> list[Run]:
    """Read the runs' folders. Raises DataError for one that is none, and where no question was asked in all of them."""
    records = [run_in(folder) for folder in folders]
    asked = [{sample.id: sample for sample in samples_in(folder)} for folder in folders]
    shared = [name for name in asked[0] if all(name in samples for samples in asked)]
    if not shared:
        raise DataError(
            f"{' and '.join(map(str, folders))}: no question was asked in all of them. Give runs of the same questions."
        )
    judged = [verdicts_in(folder) for folder in folders]
    scored = [name for name in shared if all(name in verdicts for verdicts in judged if verdicts)]
    names = [folder.name for folder in folders]
    first = [asked[0][name] for name in shared]
    found = []
    for place, (folder, record, samples) in enumerate(zip(folders, records, asked, strict=True)):
        here = [samples[name] for name in shared]
        judging, verdicts = judging_in(folder), judged[place]
        found.append(
            Run(
                name=folder.name if names.count(folder.name) == 1 else str(folder),
                asked=len(samples),
                configuration=record.configuration,
                metrics=metrics(here),
                tasks=tuple(by_task(here)),
                lean=_lean(here),
                against=against(here, first) if place else None,
                judge=judging.judge if judging else None,
                verdicts=columns([(samples[name], verdicts[name]) for name in scored if verdicts]),
            )
        )
    return found


def against(here: Sequence[Sample], first: Sequence[Sample]) -> Against:
    """How far the accuracy of samples is from that of the first ones: both of the same questions, in the same order."""
    right = [[sample.scores.correct for sample in samples] for samples in (here, first)]
    mean, low, high, p = difference(right[0], right[1], [sample.question.visuals for sample in here])
    return Against(difference=mean, low=low, high=high, p=p)


def _lean(samples: Sequence[Sample]) -> Lean:
    """Count choices by the place they were shown at, and by length."""
    picked, right = Counter[str](), Counter[str]()
    longest: list[tuple[bool, bool]] = []
    for sample in samples:
        question, answer = sample.question, sample.answer
        if not question.options or not answer or not answer.choice or question.answer is None:
            continue
        picked[answer.choice] += 1
        right[letter(sample.order.index(question.options.index(question.answer)))] += 1
        lengths = sorted(map(len, question.options))
        if lengths[-1] > lengths[-2]:
            longest.append((len(answer.text) == lengths[-1], len(question.answer) == lengths[-1]))
    letters = [letter(number) for number in range(max((len(sample.order) for sample in samples), default=0))]
    return Lean(
        picked={each: picked[each] / picked.total() for each in letters if picked},
        right={each: right[each] / right.total() for each in letters if right},
        longest_picked=sum(one for one, _ in longest) / len(longest) if longest else None,
        longest_right=sum(one for _, one in longest) / len(longest) if longest else None,
    )


def rows(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Lay the table out: what a row tells, and a cell for each run."""
    told = [("questions", [f"{run.metrics['n']} of {run.asked}" for run in runs])]
    told.append(("accuracy", [_share(run.metrics["accuracy"]) for run in runs]))
    told.append(("95 % interval", [_between(run.metrics["accuracy_low"], run.metrics["accuracy_high"]) for run in runs]))
    if any(run.against for run in runs):
        told.append(("above the first", [f"{100 * run.against.difference:+.1f}" if run.against else "" for run in runs]))
        told.append(("95 % interval", [_points(run.against) for run in runs]))
        told.append(("p", [f"{run.against.p:.2g}" if run.against else "" for run in runs]))
    for task in runs[0].tasks:
        cells = [next(each for each in run.tasks if each.task == task.task) for run in runs]
        told.append(
            (f"{task.task} ({task.n})", [_percents(cell.accuracy, cell.accuracy_low, cell.accuracy_high) for cell in cells])
        )
    if any(run.verdicts for run in runs):
        told.append(("judge", [run.judge or "" for run in runs]))
        told += [(f"{name}, 0 to 100", [_judged(run.verdicts, name) for run in runs]) for name in CRITERIA]
    for name in SHOWN:
        values = [run.metrics[name] for run in runs]
        if any(value is not None for value in values):
            told.append((name, ["" if value is None else f"{value:.3g}" for value in values]))
    told.append(("chosen, as shown", [_letters(run.lean.picked) for run in runs]))
    told.append(("right, as shown", [_letters(run.lean.right) for run in runs]))
    if any(run.lean.longest_picked is not None for run in runs):
        told.append(
            ("longest chosen / right", [f"{_share(run.lean.longest_picked)} / {_share(run.lean.longest_right)}" for run in runs])
        )
    return told


def paper_row(numbers: Metrics, tasks: Sequence[TaskAccuracy]) -> dict[str, str]:
    """A run as a row of VideoEspresso's Table 1: head -> cell, tasks in its order; empty where they are another benchmark's.

    TFLOPs are the reasoner's, as there; accuracies in percent.
    """
    found = {row.task: row.accuracy for row in tasks if isinstance(row.task, Task)}
    if not found:
        return {}
    ends = {"#Frames": numbers["frames"], "TFLOPs": numbers["tflops"]}
    shares = {task.abbreviation: found.get(task) for task in TABLE_1} | {"Avg.": numbers["accuracy"]}
    return {head: "-" if value is None else f"{value:.3g}" for head, value in ends.items()} | {
        head: "-" if share is None else f"{100 * share:.2f}" for head, share in shares.items()
    }


def markdown(runs: Sequence[Run]) -> str:
    """Write the table in Markdown, with that of the paper where it has one."""
    head = [f"| | {' | '.join(run.name for run in runs)} |", f"|---|{'---:|' * len(runs)}"]
    lines = [*head, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows(runs))]
    papers = {run.name: row for run in runs if (row := paper_row(run.metrics, run.tasks))}
    if papers:
        heads = list(next(iter(papers.values())))
        lines += ["", f"| Table 1 | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
        lines += [f"| {name} | {' | '.join(row.values())} |" for name, row in papers.items()]
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _percents(share: float, low: float, high: float) -> str:
    return f"{share:.0%} ({100 * low:.0f} to {100 * high:.0f})"


def _between(low: float | None, high: float | None) -> str:
    return f"{_share(low)} to {_share(high)}"


def _points(against: Against | None) -> str:
    return f"{100 * against.low:+.1f} to {100 * against.high:+.1f}" if against else ""


def _judged(verdicts: Metrics, name: str) -> str:
    return f"{verdicts[name]:.1f} ({verdicts[f'{name}_low']:.0f} to {verdicts[f'{name}_high']:.0f})" if verdicts else ""


def _letters(shares: dict[str, float]) -> str:
    return ", ".join(f"{each} {share:.0%}" for each, share in shares.items())
