"""Statistics of a constructed dataset: VideoEspresso's Figures 3, 4 and 12 and Table 7.

`espresso annotate stats data.jsonl --out statistics` writes them as `statistics.json` and draws
them as `statistics.png`. Lengths are counted in words, which need no tokenizer.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agents.annotate.dataset.bias import MIN_QUESTIONS, WordBias, word_bias
from agents.annotate.dataset.output import read
from agents.annotate.records import RejectedPair
from espresso.errors import DataError
from espresso.files import write_atomic
from espresso.schema import Question, Record, letter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 30
"""Most bins of a histogram."""

SHOWN_REASONS = 5
"""Reasons that are listed for each node that rejects pairs."""

MIN_BARS = 5
"""Bars for which a plot of horizontal bars has room at least."""

SHOWN_SOURCES = 12
"""Sources that are drawn; the others are summed up."""


class Distribution(Record):
    """Numbers in short: quartiles, mean and a histogram."""

    count: int

    mean: float

    minimum: float

    lower_quartile: float

    median: float

    upper_quartile: float

    maximum: float

    edges: tuple[float, ...]
    """Edges of the histogram's bins, one more than bins."""

    histogram: tuple[int, ...]
    """Count of each bin."""


class Rejected(Record):
    """The pairs that one node rejected."""

    pairs: int

    reasons: dict[str, int]
    """The most common reasons -> pairs. Quotations and numbers in a reason are left out."""


class Statistics(Record):
    """Statistics of a dataset."""

    questions: int

    videos: int

    tasks: dict[str, int]
    """Task -> questions (Table 7), the most frequent first."""

    sources: dict[str, int]
    """Source -> videos (Figure 3c), the most frequent first. A source is a folder of videos."""

    core_frames: Distribution | None
    """Core frames per question."""

    distances: Distribution | None
    """Seconds between neighbouring core frames (Figure 3a), from the middle of one span to the
    middle of the next. None if no question has two core frames."""

    distances_by_task: dict[str, Distribution]
    """The same for each task that has some."""

    key_items: Distribution | None
    """Key items per question (Figure 3b); one that is in several core frames counts once."""

    boxes: float | None
    """Share of the key items in core frames that have a box; None if there are no key items."""

    question_words: Distribution | None
    """Words per question (Figure 4a)."""

    answer_words: Distribution | None
    """Words per answer (Figure 4a)."""

    length_difference: Distribution | None
    """Words of the answer minus words of the longest distractor (Figure 12); None without options.
    Values above 0 mean that the longest option tends to be right."""

    positions: dict[str, int]
    """Letter -> questions whose answer is the option of this letter."""

    rejected: dict[str, Rejected]
    """Node -> the pairs that it rejected."""

    kept: float
    """Share of the written pairs that became questions."""

    word_bias: WordBias | None
    """Accuracy of a model that sees no video; None with fewer than 100 questions with options."""


def statistics(data: Path) -> Statistics:
    """Compute the statistics of a dataset.

    Args:
        data: the questions that `annotate` wrote; the rejected pairs are beside it.

    Raises:
        DataError: a file cannot be read, or there is neither a question nor a rejected pair.
    """
    questions, rejected = read(data)
    distances = defaultdict[str, list[float]](list)
    for question in questions:
        distances[_task(question)] += _distances(question)
    closed = [question for question in questions if question.options and question.answer]
    items = [item for question in questions if question.truth for item in question.truth.key_items]
    videos = {visual for question in questions for visual in question.visuals}
    return Statistics(
        questions=len(questions),
        videos=len(videos),
        tasks=_counts(map(_task, questions)),
        sources=_counts(Path(video).absolute().parent.name for video in videos),
        core_frames=_distribution(len(question.truth.spans) for question in questions if question.truth),
        distances=_distribution((each for found in distances.values() for each in found), whole=False),
        distances_by_task={
            task: found for task, values in sorted(distances.items()) if (found := _distribution(values, whole=False))
        },
        key_items=_distribution(len({item.label for item in each.truth.key_items}) for each in questions if each.truth),
        boxes=sum(item.box is not None for item in items) / len(items) if items else None,
        question_words=_distribution(_words(question.text) for question in questions),
        answer_words=_distribution(_words(question.answer) for question in questions if question.answer),
        length_difference=_distribution(map(_length_difference, closed)),
        positions=dict(sorted(Counter(map(_position, closed)).items())),
        rejected=_rejected(rejected),
        kept=len(questions) / (len(questions) + len(rejected)),
        word_bias=word_bias(closed) if len(closed) >= MIN_QUESTIONS else None,
    )


def write_statistics(data: Path, out: Path) -> Statistics:
    """Write the statistics of a dataset to `statistics.json` and draw them in `statistics.png`.

    Args:
        data: as in `statistics`.
        out: the folder, created if missing.

    Raises:
        DataError: as in `statistics`, or the folder cannot be written.
    """
    found = statistics(data)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / "statistics.json", found.model_dump_json(indent=2) + "\n")
        _plot(found, out / "statistics.png")
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}). Give a folder as --out, or free some space.") from error
    return found


# Numbers


def _task(question: Question) -> str:
    return str(question.task or "none")


def _words(text: str) -> int:
    return len(text.split())


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0])))


def _distances(question: Question) -> list[float]:
    """Return the seconds between neighbouring core frames in the same visual."""
    spans = question.truth.spans if question.truth else ()
    middles = sorted((span.visual, (span.start + span.end) / 2) for span in spans)
    return [later - earlier for (first, earlier), (second, later) in pairwise(middles) if first == second]


def _length_difference(question: Question) -> int:
    assert question.options
    assert question.answer
    return _words(question.answer) - max(_words(option) for option in question.options if option != question.answer)


def _position(question: Question) -> str:
    assert question.options
    assert question.answer
    return letter(question.options.index(question.answer))


def _rejected(pairs: Sequence[RejectedPair]) -> dict[str, Rejected]:
    reasons = defaultdict[str, Counter[str]](Counter)
    for pair in pairs:
        reasons[pair.node][_kind(pair.reason)] += 1
    return {node: Rejected(pairs=each.total(), reasons=dict(each.most_common(SHOWN_REASONS))) for node, each in reasons.items()}


def _kind(reason: str) -> str:
    """Return a reason without its details, so that equal ones can be counted.

    "not objective: it asks for an opinion" is "not objective"; "only 2 of 3 distractors" is "only N
    of N distractors".
    """
    unquoted = re.sub(r"""(?<!\w)(?:'.*'|".*")(?!\w)""", "...", reason, flags=re.DOTALL)
    return re.sub(r"\d+(?:[.-]\d+)*", "N", unquoted.partition(": ")[0])


def _distribution(values: Iterable[float], *, whole: bool = True) -> Distribution | None:
    """Describe numbers; None if there are none.

    Args:
        values: the numbers.
        whole: whether they are integers, so that each bin of the histogram holds equally many.
    """
    numbers = np.array(list(values), dtype=float)
    if not len(numbers):
        return None
    low, high = float(numbers.min()), float(numbers.max())
    if whole:
        width = max(1, int(np.ceil((high - low + 1) / BINS)))
        edges = np.arange(low - 0.5, high + width, width)
    else:
        edges = np.histogram_bin_edges(numbers, BINS if high > low else 1)
    quartiles = np.quantile(numbers, (0.25, 0.5, 0.75))
    return Distribution(
        count=len(numbers),
        mean=round(float(numbers.mean()), 3),
        minimum=round(low, 3),
        lower_quartile=round(float(quartiles[0]), 3),
        median=round(float(quartiles[1]), 3),
        upper_quartile=round(float(quartiles[2]), 3),
        maximum=round(high, 3),
        edges=tuple(np.round(edges, 6).tolist()),
        histogram=tuple(np.histogram(numbers, edges)[0].tolist()),
    )


# The picture


def _plot(found: Statistics, path: Path) -> None:
    """Draw the statistics as nine plots."""
    import matplotlib  # noqa: PLC0415 - takes half a second

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    draws: tuple[Callable[[Axes, Statistics], None], ...] = (
        _draw_distances, _draw_key_items, _draw_distances_by_task,
        _draw_words, _draw_length_difference, _draw_tasks,
        _draw_positions, _draw_sources, _draw_rejected,
    )  # fmt: skip
    figure, axes = pyplot.subplots(3, 3, figsize=(16, 12), layout="constrained")
    figure.suptitle(f"{found.questions} questions about {found.videos} videos")
    for plot, draw in zip(axes.flat, draws, strict=True):
        draw(plot, found)
        if not plot.has_data():
            plot.text(0.5, 0.5, "none", ha="center", va="center", transform=plot.transAxes)
            plot.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_distances(plot: Axes, found: Statistics) -> None:
    plot.set(title="Distance of neighbouring core frames", xlabel="seconds", ylabel="pairs of core frames")
    _histogram(plot, found.distances, whole=False)


def _draw_distances_by_task(plot: Axes, found: Statistics) -> None:
    plot.set(title="Distance of neighbouring core frames by task", xlabel="seconds: range, quartiles and median")
    boxes = [
        {
            "label": _label(task),
            "whislo": each.minimum,
            "q1": each.lower_quartile,
            "med": each.median,
            "q3": each.upper_quartile,
            "whishi": each.maximum,
        }
        for task, each in reversed(found.distances_by_task.items())
    ]
    if boxes:
        plot.bxp(boxes, orientation="horizontal", showfliers=False)


def _draw_key_items(plot: Axes, found: Statistics) -> None:
    share = "" if found.boxes is None else f"; {found.boxes:.0%} have a box"
    plot.set(title="Key items" + share, xlabel="key items per question", ylabel="questions")
    _histogram(plot, found.key_items)


def _draw_sources(plot: Axes, found: Statistics) -> None:
    plot.set(title="Sources", xlabel="videos")
    names = list(found.sources)
    shown = {name: found.sources[name] for name in names[:SHOWN_SOURCES]}
    if rest := names[SHOWN_SOURCES:]:
        shown[f"{len(rest)} others"] = sum(found.sources[name] for name in rest)
    _bars(plot, shown)


def _draw_words(plot: Axes, found: Statistics) -> None:
    plot.set(title="Length of questions and answers", xlabel="words", ylabel="questions")
    _histogram(plot, found.question_words, "question")
    _histogram(plot, found.answer_words, "answer")
    if found.question_words:
        plot.legend()


def _draw_tasks(plot: Axes, found: Statistics) -> None:
    plot.set(title="Tasks", xlabel="questions")
    _bars(plot, found.tasks)


def _draw_length_difference(plot: Axes, found: Statistics) -> None:
    plot.set(title="Length of the answer", xlabel="words more than the longest distractor", ylabel="questions")
    _histogram(plot, found.length_difference)
    if found.length_difference:
        plot.axvline(0, color="black", linewidth=1)


def _draw_positions(plot: Axes, found: Statistics) -> None:
    title = "Position of the answer"
    if bias := found.word_bias:
        title += f"\nwords alone: {bias.accuracy:.0%} right ({bias.low:.0%} to {bias.high:.0%}), chance {bias.chance:.0%}"
    plot.set(title=title, ylabel="questions")
    if found.positions:
        plot.bar(list(found.positions), list(found.positions.values()))
        plot.locator_params(axis="y", integer=True)


def _draw_rejected(plot: Axes, found: Statistics) -> None:
    plot.set(title=f"Rejected by node; {found.kept:.0%} of all pairs are kept", xlabel="pairs")
    _bars(plot, {node: each.pairs for node, each in found.rejected.items()})


def _histogram(plot: Axes, values: Distribution | None, label: str | None = None, *, whole: bool = True) -> None:
    if values:
        plot.stairs(values.histogram, values.edges, fill=True, alpha=0.7, label=label)
        plot.locator_params(axis="both" if whole else "y", integer=True)


def _bars(plot: Axes, counts: Mapping[str, int]) -> None:
    """Draw horizontal bars, the first one on top."""
    if counts:
        places = range(len(counts), 0, -1)
        plot.barh(places, list(counts.values()))
        plot.set_yticks(places, [_label(name) for name in counts])
        plot.set_ylim(len(counts) - max(len(counts), MIN_BARS) + 0.4, len(counts) + 0.6)
        plot.locator_params(axis="x", integer=True)


def _label(name: str) -> str:
    """Return a name that can be drawn: short, without formulas and invalid text."""
    valid = name.encode("utf-8", "backslashreplace").decode()
    return (valid if len(valid) <= 28 else f"{valid[:27]}…").replace("$", r"\$")
