"""Tables and a plot of a measurement of frame selection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from espresso.files import write_atomic
from eval.selection.measure import COUNTS, Against, Row, Value

SHOWN_COUNTS = (1, 2, 4)
"""Numbers of frames with a column of their own."""


def write(rows: Sequence[Row], out: Path) -> None:
    """Write `selection.md`, `selection.json` and the plot `selection.png` to a folder."""
    write_atomic(out / "selection.md", markdown(rows))
    write_atomic(out / "selection.json", json.dumps([row.model_dump() for row in rows], indent=1) + "\n")
    _plot(rows, out / "selection.png")


def markdown(rows: Sequence[Row]) -> str:
    """Return three tables: hits and precision, differences from the baselines, hits by type."""
    every = [row for row in rows if row.kind == "all"]
    ways = list(dict.fromkeys(row.way for row in rows))
    by = {(row.way, row.count): row for row in every}
    tables = [f"{every[0].n} questions; 95 % intervals, clustered by video.\n"]
    heads = [f"hit@{count}" for count in SHOWN_COUNTS] + [f"precision@{count}" for count in SHOWN_COUNTS]
    tables.append(
        _table(
            ["frames from", *heads, "frames of its own", "hit", "precision", "span coverage"],
            [
                [
                    way,
                    *(_value(by[way, count].hit) for count in SHOWN_COUNTS),
                    *(_value(by[way, count].precision) for count in SHOWN_COUNTS),
                    f"{by[way, None].frames:.2f}",
                    *(_value(value) for value in (by[way, None].hit, by[way, None].precision, by[way, None].coverage)),
                ]
                for way in ways
            ],
        )
    )
    compared = [(way, baseline) for way in ways for baseline in (each.baseline for each in by[way, 1].hit_against)]
    tables.append(
        _table(
            ["paired difference", *heads, "precision, its own frames"],
            [
                [
                    f"{way} - {baseline}",
                    *(_against(by[way, count].hit_against, baseline) for count in SHOWN_COUNTS),
                    *(_against(by[way, count].precision_against, baseline) for count in SHOWN_COUNTS),
                    _against(by[way, None].precision_against, baseline),
                ]
                for way, baseline in compared
            ],
        )
    )
    kinds = list(dict.fromkeys((row.kind, row.n) for row in rows if row.kind != "all"))
    hits = {(row.way, row.count, row.kind): row.hit for row in rows}
    for count in SHOWN_COUNTS:
        body = [[way, *(_value(hits[way, count, kind]) for kind, _ in kinds)] for way in ways]
        tables.append(_table([f"hit@{count} by type", *(f"{kind} (n = {n})" for kind, n in kinds)], body))
    return "\n".join(tables)


def _value(value: Value) -> str:
    return f"{value.mean:.3f} ({value.low:.3f} to {value.high:.3f})"


def _against(differences: Sequence[Against], baseline: str) -> str:
    found = next(each for each in differences if each.baseline == baseline)
    return f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _plot(rows: Sequence[Row], path: Path) -> None:
    """Plot hit rate and precision against the number of frames, with intervals."""
    import matplotlib  # noqa: PLC0415 - takes a second to import

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for way in dict.fromkeys(row.way for row in rows):
        by = {row.count: row for row in rows if row.way == way and row.kind == "all"}
        for plot, values in zip(
            axes, ([by[count].hit for count in COUNTS], [by[count].precision for count in COUNTS]), strict=True
        ):
            means = [value.mean for value in values]
            bars = [[value.mean - value.low for value in values], [value.high - value.mean for value in values]]
            plot.errorbar(
                COUNTS, means, yerr=[[max(0.0, each) for each in bar] for bar in bars], marker="o", capsize=3, label=way
            )
    for plot, label in zip(axes, ("share of questions with a hit", "precision of the chosen frames"), strict=True):
        plot.set(xlabel="frames", ylabel=label, xscale="log", xticks=COUNTS, xticklabels=COUNTS)
    axes[0].legend(fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
