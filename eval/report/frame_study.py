"""What choosing frames is worth: VideoEspresso's Table 5 for any profile, with what the paper leaves out of it.

Every way of coming by frames is asked the same questions: evenly spread ones, ones at random, the selector's, the true ones. A
row holds accuracy, its paired difference from the most uniform frames, the selection held against the truth, and the cost: the
reasoner's alone, as in the paper, and the whole pipeline's, for a first question about a clip and where ten share its captions.
Each way is a run in a folder of its own, so that the same command goes on with a study that was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espresso import profiles
from espresso.datasets.base import Source
from espresso.errors import DataError
from espresso.schema import Record
from eval.log.run_folder import samples_in
from eval.metrics import Metrics, metrics
from eval.report.table import Against, against
from eval.run import Progress, run
from eval.sample import Strategy

COUNTS = (2, 4, 8, 16)
ORACLES = ("world",)
"""Benchmarks that know the true frames."""
HEADS = (
    "profile", "sample", "frames", "ratio of tokens", "TFLOPs, reasoner", "all", "ratio of all", "all, ten questions",
    "accuracy (95 %)", "against uniform", "core precision", "core recall", "reach",
)  # fmt: skip


@dataclass(frozen=True)
class Way:
    """A way of coming by frames. frames: how many, where the way does not tell."""

    strategy: Strategy
    frames: int | None = None

    @property
    def name(self) -> str:
        """Like "uniform-16"."""
        return f"{self.strategy}-{self.frames}" if self.frames else self.strategy


class Row(Record):
    """One line of the table. against: beside the profile's row with the most uniform frames, None for that one."""

    profile: str
    sample: str
    folder: str
    metrics: Metrics
    against: Against | None


def selector_study(
    bench: str = "world",
    *,
    names: Sequence[str],
    out: Path,
    split: str = "test",
    limit: int | None = None,
    counts: Sequence[int] = COUNTS,
    source: Source | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    **settings: Any,
) -> list[Row]:
    """Ask in every way with every profile, and write `study.md`, `study.json` and `study.png` into `out`; returns the rows.

    names: of profiles, or their files. counts: of uniform and random frames. settings: what else `eval.run.run` takes. Raises
    DataError where no count is given, and what runs raise.
    """
    if not counts or min(counts) < 1:
        raise DataError("a study compares with numbers of frames of 1 or more. Give --count 2 --count 16, or leave it out.")
    ways = [Way(strategy, count) for strategy in ("uniform", "random") for count in sorted(counts)] + [Way("selector")]
    ways += [Way("oracle")] if bench in ORACLES else []
    found: list[Row] = []
    for profile in names:
        folders = {way: out / f"{Path(profile).stem if profile.endswith('.toml') else profile}-{way.name}" for way in ways}
        for way, folder in folders.items():

            def tell(progress: Progress, named: str = f"{profile}, {way.name}") -> None:
                doing = named if progress.doing == "answering" else progress.doing
                on_progress(Progress(doing, progress.done, progress.total, progress.right, progress.errors))

            run(
                bench, split=split, limit=limit, strategy=way.strategy, frames=way.frames, profile=profile, out=folder,
                source=source, on_progress=tell, **settings,
            )  # fmt: skip
        found += _rows(profiles.load(profile).name, folders, Way("uniform", max(counts)))
    _write(found, out)
    return found


def _rows(profile: str, folders: dict[Way, Path], standard: Way) -> list[Row]:
    samples = {way: sorted(samples_in(folder), key=lambda sample: sample.id) for way, folder in folders.items()}
    return [
        Row(
            profile=profile,
            sample=way.name,
            folder=str(folders[way]),
            metrics=metrics(here),
            against=None if way == standard else against(here, samples[standard]),
        )
        for way, here in samples.items()
    ]


def table(found: Sequence[Row]) -> list[list[str]]:
    """Lay the rows out under `HEADS`. Ratios are to the profile's most uniform frames, as the paper's Ratio_tok is."""
    standard = {row.profile: row.metrics for row in found if row.against is None}
    return [[row.profile, row.sample, *_cells(row, standard[row.profile])] for row in found]


def _cells(row: Row, standard: Metrics) -> list[str]:
    numbers = row.metrics
    share, low, high = (100 * float(numbers[name] or 0) for name in ("accuracy", "accuracy_low", "accuracy_high"))
    apart = row.against
    beside = f"{100 * apart.difference:+.1f} ({100 * apart.low:+.1f} to {100 * apart.high:+.1f})" if apart else ""
    return [
        _number(numbers["frames"]),
        _ratio(numbers["visual_tokens"], standard["visual_tokens"]),
        _number(numbers["tflops"]),
        _number(numbers["tflops_all"]),
        _ratio(numbers["tflops_all"], standard["tflops_all"]),
        _number(numbers["tflops@10"]),
        f"{share:.1f} ({low:.1f} to {high:.1f})",
        beside,
        *(_number(numbers[name]) for name in ("core_precision", "core_recall", "core_reach")),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _ratio(value: float | None, standard: float | None) -> str:
    return f"{value / standard:.2f}" if value is not None and standard else ""


def markdown(found: Sequence[Row]) -> str:
    """Write the table in Markdown."""
    lines = [HEADS, tuple("---" for _ in HEADS), *table(found)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _write(found: Sequence[Row], out: Path) -> None:
    (out / "study.md").write_text(markdown(found) + "\n")
    (out / "study.json").write_text("[" + ",\n".join(row.model_dump_json() for row in found) + "]\n")
    import matplotlib  # noqa: PLC0415 - half a second

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4), layout="constrained", sharey=True)
    series = dict.fromkeys((row.profile, row.sample.split("-")[0]) for row in found)
    for plot, (name, unit) in zip(
        axes, (("frames", "core frames"), ("visual_tokens", "visual tokens"), ("tflops_all", "TFLOPs of all roles")), strict=True
    ):
        for profile, kind in series:
            rows = [row for row in found if row.profile == profile and row.sample.split("-")[0] == kind]
            points = [(float(row.metrics[name] or 0), *_errors(row.metrics)) for row in rows if row.metrics[name]]
            if points:
                x, y, below, above = zip(*points, strict=True)
                plot.errorbar(x, y, yerr=(below, above), marker="o", capsize=3, label=f"{profile}, {kind}")
        plot.set(xlabel=unit, xscale="log")
    axes[0].set(ylabel="accuracy, % (95 % interval)")
    axes[0].legend(fontsize="small")
    figure.savefig(out / "study.png", dpi=120)
    pyplot.close(figure)


def _errors(numbers: Metrics) -> tuple[float, float, float]:
    """Accuracy in percent, and how far its interval reaches below and above."""
    share, low, high = (100 * float(numbers[name] or 0) for name in ("accuracy", "accuracy_low", "accuracy_high"))
    return share, max(0.0, share - low), max(0.0, high - share)  # rounding may put an end a hair on the wrong side
