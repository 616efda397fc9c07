"""What the studies of classifiers share: trainings of several processes, results, tables.

A study has a folder; each training has one in it, and belongs to the process that holds the lock of
its folder. The same command resumes, and a second process that runs it shares the work.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from espresso.datasets.base import DatasetFiles
from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.schema import Record
from eval.run import run
from eval.run_folder import read_samples
from eval.stats import Shared, paired_bootstrap, seeded_interval
from finetune.fusion.config import FusionTraining
from finetune.fusion.train import STAGES, Stage, train
from finetune.install import check_output

Progress = Callable[[str, int, int], None]
"""Called with what is done, the number of finished trainings and of all."""

Training = TypeVar("Training")


class Estimate(Record):
    """A share of right answers, or a difference of shares, with its 95 % interval."""

    mean: float

    low: float

    high: float

    n: int
    """Number of questions."""


class StudyRow(Record):
    """One row of a table."""

    table: str
    """Name of the table: "Table 2"."""

    name: str
    """What the row is about."""

    cells: dict[str, Estimate]
    """Column -> result."""


def estimate(values: np.ndarray, clusters: Sequence[Hashable], shared: Shared = (), *, difference: bool = False) -> Estimate:
    """Return the mean of (seeds, questions) values with its interval, see `seeded_interval`."""
    mean, low, high = seeded_interval(values, clusters, shared, within=(-1.0, 1.0) if difference else (0.0, 1.0))
    return Estimate(mean=mean, low=low, high=high, n=values.shape[1])


def paired_estimate(differences: np.ndarray, clusters: Sequence[Hashable]) -> Estimate:
    """Return the mean of (seeds, questions) differences, see `paired_bootstrap`."""
    mean, low, high = paired_bootstrap(differences, clusters)
    return Estimate(mean=mean, low=low, high=high, n=differences.shape[1])


def claim(config: FusionTraining, unrelated: Sequence[str]) -> None:
    """Record the configuration in the folder of the study.

    Args:
        config: the configuration; its output is the folder.
        unrelated: keys that may change when a study goes on.

    Raises:
        DataError: the folder has another study, or cannot be written.
    """
    file = config.output / "study-config.json"
    check_output(config.output / "pretrain")
    text = config.model_dump_json(indent=2, exclude=set(unrelated)) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") != text:
        raise DataError(f"{config.output}: is the study of another configuration. Delete the folder or choose another --output.")
    write_atomic(file, text)


def share_work(
    folder: Path,
    trainings: Sequence[Training],
    run: Callable[[Training, bool], object],
    name: Callable[[Training], str],
    on_progress: Progress,
) -> None:
    """Run trainings: first those that no other process runs, then what others have not finished.

    Args:
        folder: the folder of the study.
        trainings: the trainings.
        run: called with a training, and whether to wait for another process that runs it.
        name: returns the name of a training, which is that of its folder.
        on_progress: called before each training.
    """
    for wait in (False, True):
        for training in trainings:
            finished = {answers.parent.name for answers in folder.glob("*/correct.json")}
            if name(training) not in finished:
                on_progress(name(training), len(finished), len(trainings))
                run(training, wait)


def answered(folder: Path, stage: Stage, make: Callable[[], Any], *, wait: bool) -> Any:
    """Return the answers of a classifier, from its folder or made; its weights are deleted.

    Args:
        folder: the folder of its training.
        stage: the stage that trains it.
        make: trains it and returns its answers as JSON values; may raise Timeout, see `once`.
        wait: whether to wait for another process that trains it. Otherwise the result is None.
    """
    answers = folder / "correct.json"
    if not answers.is_file():
        try:
            with FileLock(folder.with_name(f"{folder.name}.lock"), blocking=wait):
                if not answers.is_file():
                    write_atomic(answers, json.dumps(make()))
                    for part in (stage, f"{stage}-checkpoints"):
                        shutil.rmtree(folder / part, ignore_errors=True)
        except Timeout:
            return None
    return json.loads(answers.read_text(encoding="utf-8"))


def once(folder: Path, make: Callable[[], Path], *, wait: bool) -> Path:
    """Return the model of a folder; make it if it is not there.

    Raises:
        Timeout: another process makes it, and this one is not to wait.
    """
    with FileLock(folder.with_name(f"{folder.name}.lock"), blocking=wait):
        done = next(folder.glob("*/lineage.json"), None)
        return done.parent if done else make()


def train_stage(config: FusionTraining, stage: Stage, folder: Path, **changes: Any) -> Path:
    """Train a stage with a study's settings into a folder; return the folder of the model.

    Args:
        config: the study.
        stage: the stage.
        folder: the folder of the training.
        **changes: values of `FusionTraining` that replace those of the study, among them the
            section of the stage.
    """
    shared: dict[str, Any] = {name: getattr(config, name) for name in FusionTraining.model_fields if name not in STAGES}
    train(FusionTraining(**shared | {"output": folder} | changes), stage)
    return folder / stage


def pipeline_answers(
    folder: Path, profile: str, dataset: str, split: str, limit: int | None = None, files: DatasetFiles | None = None
) -> dict[str, bool]:
    """Let the LVLM pipeline of a profile answer questions; return which are right, by their id.

    A second process of the study waits for the first one's run.

    Args:
        folder: the folder of the study. The run has a folder in it, and resumes.
        profile: name or file of the profile.
        dataset: name of the dataset.
        split: the split whose questions are asked.
        limit: number of questions, from the first; None for all.
        files: the user's copy of a dataset that comes in files.
    """
    run_folder = folder / f"{Path(profile).stem}-{dataset}-{split}"
    with FileLock(run_folder.with_name(f"{run_folder.name}.lock")):
        run(dataset, split=split, strategy="selector", profile=profile, limit=limit, files=files, out=run_folder)
    return {sample.id: sample.scores.correct for sample in read_samples(run_folder)}


def write(folder: Path, rows: Sequence[StudyRow]) -> None:
    """Write the rows of the tables to `study.json` and `study.md`."""
    write_atomic(folder / "study.json", "[" + ",\n".join(row.model_dump_json() for row in rows) + "]\n")
    write_atomic(folder / "study.md", markdown(rows))


def markdown(rows: Sequence[StudyRow]) -> str:
    """Return the tables in Markdown, in percent."""
    lines = list[str]()
    for table in dict.fromkeys(row.table for row in rows):
        here = [row for row in rows if row.table == table]
        columns = {column: cell.n for row in here for column, cell in row.cells.items()}
        heads = ["", *(f"{column} (n = {n})" for column, n in columns.items())]
        body = [[row.name, *(_cell(row.cells.get(column), row) for column in columns)] for row in here]
        lines += [f"**{table}**", "", *(f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *body)), ""]
    return "\n".join(lines)


def _cell(cell: Estimate | None, row: StudyRow) -> str:
    if cell is None:
        return ""
    sign = "+" if " minus " in row.name else ""
    return f"{100 * cell.mean:{sign}.1f} ({100 * cell.low:{sign}.1f} to {100 * cell.high:{sign}.1f})"
