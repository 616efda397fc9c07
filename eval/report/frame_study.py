"""Compare ways to select frames: VideoEspresso's Table 5 for any profile.

Each profile answers the same questions with uniform frames, random frames, selected frames and, for
the world, ground-truth frames. A row holds the accuracy, its paired difference from the largest
number of uniform frames, precision and recall of the core frames, and the cost: that of the
reasoner as in the paper, and that of the whole pipeline for one question per clip and for ten. Each
row is a run in a folder of its own, so the same command resumes an interrupted study.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.session import Session
from espresso import profiles
from espresso.datasets import DatasetFiles
from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.options import FRAME_COUNTS, EvalStrategy
from espresso.schema import Record
from eval.metrics import Metrics, metrics
from eval.report.table import PairedDifference, paired_difference
from eval.run import RunProgress, run
from eval.run_folder import read_samples

WITH_TRUE_FRAMES = ("world",)
"""Datasets with ground-truth frames."""

HEADS = (
    "profile", "frames from", "frames", "visual token ratio", "TFLOPs, reasoner", "TFLOPs, all", "TFLOPs ratio, all",
    "TFLOPs, ten questions", "accuracy (95 %)", "against uniform", "core precision", "core recall", "core reach",
)  # fmt: skip
"""Column heads of the table."""


@dataclass(frozen=True)
class FrameStrategy:
    """A way to select frames."""

    strategy: EvalStrategy
    """Strategy of the run."""

    frames: int | None = None
    """Number of frames; None if the strategy determines it."""

    @property
    def name(self) -> str:
        """Name such as "uniform-16"."""
        return f"{self.strategy}-{self.frames}" if self.frames else self.strategy


class StudyRow(Record):
    """One row of the table."""

    profile: str
    """Name of the profile."""

    sample: str
    """Name of the frame strategy."""

    folder: str
    """Folder of the run."""

    metrics: Metrics
    """Metrics of the run."""

    against: PairedDifference | None
    """Difference from the profile's row with the most uniform frames; None for that row."""


def selector_study(
    bench: str = "world",
    *,
    names: Sequence[str],
    out: Path,
    split: str = "test",
    limit: int | None = None,
    counts: Sequence[int] = FRAME_COUNTS,
    files: DatasetFiles | None = None,
    session: Session | None = None,
    on_progress: Callable[[RunProgress], None] = lambda progress: None,
) -> list[StudyRow]:
    """Run every frame strategy with every profile; write `study.md`, `study.json` and `study.png`.

    Args:
        bench: name of the dataset.
        names: profiles, or paths of their files.
        out: folder of the results and of all runs.
        split: split of the dataset.
        limit: number of questions, from the first; None for all.
        counts: numbers of uniform and random frames.
        files: the user's copy of a dataset that comes in files.
        session: the models and cache to use for all profiles; None opens one session per run.
        on_progress: called when a sample is done.

    Raises:
        DataError: a count is less than 1, or an argument of a run is invalid.
        ProfileError: a profile is invalid.
        ModelError: a model cannot be loaded, or its server is gone.
    """
    if not counts or min(counts) < 1:
        raise DataError("the numbers of frames must be 1 or more. Use --count 2 --count 16, or leave it out.")
    strategies = [FrameStrategy(strategy, count) for strategy in ("uniform", "random") for count in sorted(counts)]
    strategies += [FrameStrategy("selector")]
    strategies += [FrameStrategy("oracle")] if bench in WITH_TRUE_FRAMES else []
    rows: list[StudyRow] = []
    for profile in names:
        stem = Path(profile).stem if profile.endswith(".toml") else profile
        folders = {strategy: out / f"{stem}-{strategy.name}" for strategy in strategies}
        for strategy, folder in folders.items():

            def report(progress: RunProgress, name: str = f"{profile}, {strategy.name}") -> None:
                doing = name if progress.doing == "answering" else progress.doing
                on_progress(RunProgress(doing, progress.done, progress.total, progress.right, progress.errors))

            run(
                bench, split=split, limit=limit, strategy=strategy.strategy, frames=strategy.frames, profile=profile,
                session=session, out=folder, files=files, on_progress=report,
            )  # fmt: skip
        rows += _rows(profiles.load(profile).name, folders, FrameStrategy("uniform", max(counts)))
    _write(rows, out)
    return rows


def _rows(profile: str, folders: dict[FrameStrategy, Path], baseline: FrameStrategy) -> list[StudyRow]:
    by_strategy = {strategy: sorted(read_samples(folder), key=lambda sample: sample.id) for strategy, folder in folders.items()}
    return [
        StudyRow(
            profile=profile,
            sample=strategy.name,
            folder=str(folders[strategy]),
            metrics=metrics(samples),
            against=None if strategy == baseline else paired_difference(samples, by_strategy[baseline]),
        )
        for strategy, samples in by_strategy.items()
    ]


def table_cells(rows: Sequence[StudyRow]) -> list[list[str]]:
    """Return the cells of the table, under `HEADS`.

    Ratios are relative to the profile's row with the most uniform frames, as Ratio_tok in the
    paper.
    """
    baselines = {row.profile: row.metrics for row in rows if row.against is None}
    return [[row.profile, row.sample, *_cells(row, baselines[row.profile])] for row in rows]


def _cells(row: StudyRow, baseline: Metrics) -> list[str]:
    numbers, against = row.metrics, row.against
    accuracy, low, high = _accuracy_percent(numbers)
    difference = f"{100 * against.difference:+.1f} ({100 * against.low:+.1f} to {100 * against.high:+.1f})" if against else ""
    return [
        _number(numbers.frames),
        _ratio(numbers.visual_tokens, baseline.visual_tokens),
        _number(numbers.tflops),
        _number(numbers.tflops_all),
        _ratio(numbers.tflops_all, baseline.tflops_all),
        _number(numbers.tflops_at_10),
        f"{accuracy:.1f} ({low:.1f} to {high:.1f})",
        difference,
        _number(numbers.core_precision),
        _number(numbers.core_recall),
        _number(numbers.core_reach),
    ]


def _accuracy_percent(numbers: Metrics) -> tuple[float, float, float]:
    """Return accuracy and the ends of its interval in percent."""
    return 100 * numbers.accuracy, 100 * numbers.accuracy_low, 100 * numbers.accuracy_high


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _ratio(value: float | None, baseline: float | None) -> str:
    return f"{value / baseline:.2f}" if value is not None and baseline else ""


def markdown(rows: Sequence[StudyRow]) -> str:
    """Return the table in Markdown."""
    lines = [HEADS, tuple("---" for _ in HEADS), *table_cells(rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _write(rows: Sequence[StudyRow], out: Path) -> None:
    write_atomic(out / "study.md", markdown(rows) + "\n")
    write_atomic(out / "study.json", "[" + ",\n".join(row.model_dump_json() for row in rows) + "]\n")
    _plot(rows, out / "study.png")


def _plot(rows: Sequence[StudyRow], path: Path) -> None:
    """Plot accuracy against core frames, visual tokens and TFLOPs."""
    import matplotlib  # noqa: PLC0415 - takes half a second

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4), layout="constrained", sharey=True)
    lines = dict.fromkeys((row.profile, row.sample.split("-")[0]) for row in rows)
    costs: tuple[tuple[Callable[[Metrics], float | None], str], ...] = (
        (lambda numbers: numbers.frames, "core frames"),
        (lambda numbers: numbers.visual_tokens, "visual tokens"),
        (lambda numbers: numbers.tflops_all, "TFLOPs, all roles"),
    )
    for plot, (cost_of, label) in zip(axes, costs, strict=True):
        for profile, strategy in lines:
            members = [row.metrics for row in rows if row.profile == profile and row.sample.split("-")[0] == strategy]
            points = [(cost, *_error_bar(numbers)) for numbers in members if (cost := cost_of(numbers))]
            if points:
                x, y, below, above = zip(*points, strict=True)
                plot.errorbar(x, y, yerr=(below, above), marker="o", capsize=3, label=f"{profile}, {strategy}")
        plot.set(xlabel=label, xscale="log")
    axes[0].set(ylabel="accuracy, % (95 % interval)")
    axes[0].legend(fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _error_bar(numbers: Metrics) -> tuple[float, float, float]:
    """Return accuracy in percent and the lengths of its error bar below and above."""
    accuracy, low, high = _accuracy_percent(numbers)
    return accuracy, max(0.0, accuracy - low), max(0.0, high - accuracy)  # rounding can make a length slightly negative
