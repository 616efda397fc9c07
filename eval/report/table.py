"""Compare runs side by side: accuracy by task, judge scores, cost, paired differences, choice bias.

`espresso eval report RUN...` prints the table. Runs are compared on the questions that they share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from agents.judge import CRITERIA
from espresso.errors import DataError
from espresso.schema import TABLE_1, Record, Task, letter
from eval.judge.results import criterion_scores, flat_scores, read_judge_config, read_verdicts
from eval.metrics import Metrics, TaskAccuracy, clusters, metrics, shared_files, task_accuracies
from eval.run_folder import RunConfig, read_run, read_samples
from eval.sample import Sample
from eval.stats import difference

SHOWN_METRICS = (
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
"""Metrics in the table, by their names in the JSON output, in order."""


class PairedDifference(Record):
    """Difference in accuracy between two runs on the same questions."""

    difference: float
    """Accuracy of the run minus that of the other one."""

    low: float
    """Lower end of the 95 % interval, robust to questions that share a video."""

    high: float
    """Upper end of the 95 % interval, robust to questions that share a video."""

    p: float
    """Two-sided p-value."""


class ChoiceBias(Record):
    """How often options are chosen by position and by length, compared with the correct answers."""

    chosen: dict[str, float]
    """Letter as shown -> share of the choices."""

    correct: dict[str, float]
    """Letter as shown -> share of the correct answers."""

    longest_chosen: float | None
    """Share of the questions with one longest option in which it was chosen; None without any."""

    longest_correct: float | None
    """Share of the same questions in which the longest option is correct."""


class RunColumn(Record):
    """A column of the table: a run, measured on the questions that all runs share."""

    name: str
    """Name of the run's folder, or its path if several folders have this name."""

    asked: int
    """Number of questions of the run, shared or not."""

    configuration: RunConfig
    """Configuration of the run."""

    metrics: Metrics
    """Metrics on the shared questions."""

    tasks: tuple[TaskAccuracy, ...]
    """Accuracy by task on the shared questions."""

    choice_bias: ChoiceBias
    """Choices by position and length."""

    against: PairedDifference | None
    """Difference from the first run; None for the first run."""

    judge: str | None
    """Name of the judge that scored the run, if any."""

    verdicts: dict[str, float]
    """Judge scores (`eval.judge.results.JudgeMetrics`) on the answers scored in all judged runs."""


def compare(folders: Sequence[Path]) -> list[RunColumn]:
    """Read runs and measure them on the questions that they share.

    Args:
        folders: the runs' folders; the others are compared with the first.

    Raises:
        DataError: a folder is not a run, a run has no answers, or the runs share no question.
    """
    headers = [read_run(folder) for folder in folders]
    by_id = [{sample.id: sample for sample in read_samples(folder)} for folder in folders]
    if empty := next((folder for folder, samples in zip(folders, by_id, strict=True) if not samples), None):
        raise DataError(f"{empty}: the run has no answers yet. Resume it, or leave it out.")
    shared = [name for name in by_id[0] if all(name in samples for samples in by_id)]
    if not shared:
        raise DataError(f"{' and '.join(map(str, folders))}: the runs share no question. Give runs of the same questions.")
    judged = [read_verdicts(folder) for folder in folders]
    scored = [name for name in shared if all(name in verdicts for verdicts in judged if verdicts)]
    names = [folder.name for folder in folders]
    first = [by_id[0][name] for name in shared]
    columns = []
    for position, (folder, header, samples) in enumerate(zip(folders, headers, by_id, strict=True)):
        ours = [samples[name] for name in shared]
        judge_config, verdicts = read_judge_config(folder), judged[position]
        columns.append(
            RunColumn(
                name=folder.name if names.count(folder.name) == 1 else str(folder),
                asked=len(samples),
                configuration=header.configuration,
                metrics=metrics(ours),
                tasks=tuple(task_accuracies(ours)),
                choice_bias=_choice_bias(ours),
                against=paired_difference(ours, first) if position else None,
                judge=judge_config.judge if judge_config else None,
                verdicts=flat_scores(criterion_scores([(samples[name], verdicts[name]) for name in scored if verdicts])),
            )
        )
    return columns


def paired_difference(ours: Sequence[Sample], theirs: Sequence[Sample]) -> PairedDifference:
    """Compare the accuracy of two runs on the same questions, given in the same order."""
    correct = [[sample.scores.correct for sample in samples] for samples in (ours, theirs)]
    mean, low, high, p = difference(correct[0], correct[1], clusters(ours), shared_files(ours))
    return PairedDifference(difference=mean, low=low, high=high, p=p)


def _choice_bias(samples: Sequence[Sample]) -> ChoiceBias:
    """Count choices by position as shown, and by length."""
    chosen, correct = Counter[str](), Counter[str]()
    longest: list[tuple[bool, bool]] = []
    for sample in samples:
        question, answer = sample.question, sample.answer
        if not question.options or not answer or not answer.choice or question.answer is None:
            continue
        chosen[answer.choice] += 1
        correct[letter(sample.order.index(question.options.index(question.answer)))] += 1
        lengths = sorted(map(len, question.options))
        if lengths[-1] > lengths[-2]:
            longest.append((len(answer.text) == lengths[-1], len(question.answer) == lengths[-1]))
    letters = [letter(number) for number in range(max((len(sample.order) for sample in samples), default=0))]
    return ChoiceBias(
        chosen={each: chosen[each] / chosen.total() for each in letters if chosen},
        correct={each: correct[each] / correct.total() for each in letters if correct},
        longest_chosen=sum(one for one, _ in longest) / len(longest) if longest else None,
        longest_correct=sum(one for _, one in longest) / len(longest) if longest else None,
    )


def table_rows(columns: Sequence[RunColumn]) -> list[tuple[str, list[str]]]:
    """Return the rows of the table: a label, and a cell for each run."""
    rows = [("questions", [f"{run.metrics.n} of {run.asked}" for run in columns])]
    rows.append(("accuracy", [_percent(run.metrics.accuracy) for run in columns]))
    rows.append(("95 % interval", [_interval(run.metrics.accuracy_low, run.metrics.accuracy_high) for run in columns]))
    if any(run.against for run in columns):
        rows.append(
            ("difference to first run", [f"{100 * run.against.difference:+.1f}" if run.against else "" for run in columns])
        )
        rows.append(("95 % interval", [_points(run.against) for run in columns]))
        rows.append(("p", [f"{run.against.p:.2g}" if run.against else "" for run in columns]))
    if groups := columns[0].metrics.groups:
        rows.append((f"consistency ({groups} groups)", [_percent(run.metrics.consistency) for run in columns]))
        rows.append(("95 % interval", [_interval(run.metrics.consistency_low, run.metrics.consistency_high) for run in columns]))
    if columns[0].metrics.weighted_accuracy is not None:
        weighted = [
            (run.metrics.weighted_accuracy, run.metrics.weighted_accuracy_low, run.metrics.weighted_accuracy_high)
            for run in columns
        ]
        rows.append(("weighted by difficulty", [_percent(share) for share, _, _ in weighted]))
        rows.append(("95 % interval", [_interval(low, high) for _, low, high in weighted]))
    for task in columns[0].tasks:
        cells = [next(each for each in run.tasks if each.task == task.task) for run in columns]
        rows.append(
            (f"{task.task} ({task.n})", [_percents(cell.accuracy, cell.accuracy_low, cell.accuracy_high) for cell in cells])
        )
    if any(run.verdicts for run in columns):
        rows.append(("judge", [run.judge or "" for run in columns]))
        rows += [(f"{name}, 0 to 100", [_score(run.verdicts, name) for run in columns]) for name in CRITERIA]
    values = [run.metrics.model_dump() for run in columns]
    for name in SHOWN_METRICS:
        if any(each[name] is not None for each in values):
            rows.append((name, ["" if each[name] is None else f"{each[name]:.3g}" for each in values]))
    rows.append(("chosen, by letter", [_letters(run.choice_bias.chosen) for run in columns]))
    rows.append(("correct, by letter", [_letters(run.choice_bias.correct) for run in columns]))
    if any(run.choice_bias.longest_chosen is not None for run in columns):
        longest = [(run.choice_bias.longest_chosen, run.choice_bias.longest_correct) for run in columns]
        rows.append(("longest chosen / correct", [f"{_percent(chosen)} / {_percent(correct)}" for chosen, correct in longest]))
    return rows


def paper_row(numbers: Metrics, tasks: Sequence[TaskAccuracy]) -> dict[str, str]:
    """Return a run as a row of VideoEspresso's Table 1.

    Args:
        numbers: metrics of the run. TFLOPs are those of the reasoner, as in the paper.
        tasks: accuracy by task.

    Returns:
        Column head -> cell, with the tasks in the paper's order and accuracies in percent. Empty
        for a benchmark with other tasks.
    """
    accuracies = {row.task: row.accuracy for row in tasks if isinstance(row.task, Task)}
    if not accuracies:
        return {}
    costs = {"#Frames": numbers.frames, "TFLOPs": numbers.tflops}
    shares = {task.abbreviation: accuracies.get(task) for task in TABLE_1} | {"Avg.": numbers.accuracy}
    return {head: "-" if value is None else f"{value:.3g}" for head, value in costs.items()} | {
        head: "-" if share is None else f"{100 * share:.2f}" for head, share in shares.items()
    }


def markdown(columns: Sequence[RunColumn]) -> str:
    """Return the table in Markdown; for the paper's tasks, add rows of VideoEspresso's Table 1."""
    head = [f"| | {' | '.join(run.name for run in columns)} |", f"|---|{'---:|' * len(columns)}"]
    lines = [*head, *(f"| {name} | {' | '.join(cells)} |" for name, cells in table_rows(columns))]
    paper_rows = {run.name: row for run in columns if (row := paper_row(run.metrics, run.tasks))}
    if paper_rows:
        heads = list(next(iter(paper_rows.values())))
        lines += ["", f"| Table 1 | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
        lines += [f"| {name} | {' | '.join(row.values())} |" for name, row in paper_rows.items()]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _percents(share: float, low: float, high: float) -> str:
    return f"{share:.0%} ({100 * low:.0f} to {100 * high:.0f})"


def _interval(low: float | None, high: float | None) -> str:
    return f"{_percent(low)} to {_percent(high)}"


def _points(against: PairedDifference | None) -> str:
    return f"{100 * against.low:+.1f} to {100 * against.high:+.1f}" if against else ""


def _score(verdicts: dict[str, float], name: str) -> str:
    return f"{verdicts[name]:.1f} ({verdicts[f'{name}_low']:.0f} to {verdicts[f'{name}_high']:.0f})" if verdicts else ""


def _letters(shares: dict[str, float]) -> str:
    return ", ".join(f"{each} {share:.0%}" for each, share in shares.items())
