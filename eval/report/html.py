"""Write an HTML page about runs: accuracy by task and against cost, all metrics, and every sample.

`espresso eval report RUN... --html FILE` writes it. The page is a single file with embedded
pictures and loads nothing from the network; its script (`page.js`) renders only the samples in
view. Metrics are on the questions that all runs share, as in `eval.report.table`; the samples are
those of all runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator

from espresso import media, report
from espresso.errors import MediaError
from espresso.schema import Frame, Record, Truth, Verdict
from eval.report.table import RunColumn, compare, table_rows
from eval.run_folder import read_samples
from eval.sample import Sample

PICTURE_PX = 160
"""Longest side in pixels of filmstrip pictures; shown at half the size for sharp screens."""

MAX_PICTURES = 12_000
"""Approximate number of pictures (25 MB) that open in two seconds (`benchmarks/page.py`)."""

STRIP_FRAMES = (6, 32)
"""Bounds for the number of frames on a filmstrip. Within them, it shrinks as clips increase."""

Pictures = dict[str, dict[int, str]]
"""Digest of a visual -> frame index -> picture as a `data:` URL."""


class Tile(Record):
    """A frame on a filmstrip."""

    index: int
    """Index of the frame in the visual."""

    time: float
    """Time of the frame in seconds."""

    needed: bool
    """Whether the frame lies in a span that the question needs."""

    core: tuple[int, ...]
    """Positions of the runs in which this is a core frame."""

    texts: tuple[str | None, ...]
    """For each run, the frame's caption or the reason why it was selected."""


class Strip(Record):
    """The frames of a visual that the runs sampled, in time order."""

    source: str
    """Path or URL of the visual."""

    digest: str
    """SHA-256 of the visual."""

    width: int
    """Width of the visual in pixels."""

    height: int
    """Height of the visual in pixels."""

    tiles: tuple[Tile, ...]
    """The shown frames."""

    left_out: int
    """Number of sampled frames that are not shown."""


class Reply(Record):
    """The outcome of a question in one run."""

    mark: str
    """One of "correct", "wrong" and "error"."""

    text: str = ""
    """Text of the answer."""

    choice: str | None = None
    """Letter of the chosen option, as shown."""

    confidence: float | None = None
    """Probability of the choice, 0 to 1."""

    evidence: str = ""
    """The generated evidence."""

    error: str | None = None
    """Why there is no answer."""

    notes: tuple[str, ...] = ()
    """Notes in the trace."""

    verdict: dict[str, Any] | None = None
    """Scores of the judge."""


class Entry(Record):
    """A question with the reply of each run."""

    id: str
    """Id of the sample."""

    task: str | None
    """Task of the question."""

    question: str
    """Text of the question."""

    options: tuple[str, ...] | None
    """Options in their original order."""

    answer: str | None
    """Reference answer, if known."""

    evidence: str | None
    """Reference evidence, if known."""

    strips: tuple[Strip, ...]
    """A filmstrip for each visual."""

    replies: tuple[Reply | None, ...]
    """The reply of each run; None if the run did not ask this question."""


@dataclass(frozen=True)
class Axis:
    """An axis of a plot."""

    name: str
    """Label."""

    ticks: tuple[float, ...]
    """Tick values; the first and the last one are the ends of the axis."""

    def place(self, value: float) -> float:
        """Return the position of a value on the axis, in percent."""
        return 100 * (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])


@dataclass(frozen=True)
class Plot:
    """Accuracy against cost."""

    cost: Axis
    """Horizontal axis."""

    accuracy: Axis
    """Vertical axis."""

    costs: tuple[float, ...]
    """Cost of each run, in the unit of the axis."""


def write(
    path: str | Path,
    folders: Sequence[Path],
    *,
    verdicts: Sequence[Mapping[str, Verdict | None]] = (),
    on_clip: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[str, ...]:
    """Write the page about runs, replacing an existing one.

    Args:
        path: the HTML file.
        folders: the runs' folders.
        verdicts: for each run, sample id -> judge scores.
        on_clip: called with (clips done, total clips) after each decoded clip.

    Returns:
        The visuals that are missing or were changed; the page has no pictures of them.

    Raises:
        DataError: a folder is not a run, the runs share no question, or the page cannot be written.
    """
    path = report.check(path)
    runs, samples = compare(folders), [read_samples(folder) for folder in folders]
    entries = _entries(samples, verdicts or [{} for _ in folders])
    pictures, gone = _pictures(entries, on_clip)
    html = report.template(Path(__file__).with_name("page.html.jinja")).render(
        runs=runs,
        rows=table_rows(runs),
        plot=_plot(runs),
        gone=gone,
        tasks=list(dict.fromkeys(entry.task for entry in entries if entry.task)),
        data={
            "runs": [run.name for run in runs],
            "entries": [entry.model_dump(exclude_none=True) for entry in entries],
            "pictures": pictures,
        },
    )
    report.save(path, html)
    return gone


def _entries(runs: Sequence[Sequence[Sample]], verdicts: Sequence[Mapping[str, Verdict | None]]) -> list[Entry]:
    """Collect the samples of all runs by question, in order of first occurrence."""
    by_id = [{sample.id: sample for sample in samples} for samples in runs]
    clips = {visual.digest for run in runs for sample in run if sample.answer for visual in sample.answer.visuals}
    max_frames = min(max(MAX_PICTURES // max(1, len(clips)), STRIP_FRAMES[0]), STRIP_FRAMES[1])
    entries = []
    for name in dict.fromkeys(sample.id for samples in runs for sample in samples):
        samples = [run.get(name) for run in by_id]
        question = next(sample.question for sample in samples if sample)
        entries.append(
            Entry(
                id=name,
                task=question.task,
                question=question.text,
                options=question.options,
                answer=question.answer,
                evidence=question.truth.evidence if question.truth else None,
                strips=_strips(samples, question.truth, max_frames),
                replies=tuple(
                    _reply(sample, scores.get(name)) if sample else None for sample, scores in zip(samples, verdicts, strict=True)
                ),
            )
        )
    return entries


def _reply(sample: Sample, verdict: Verdict | None) -> Reply:
    answer = sample.answer
    if answer is None:
        return Reply(mark="error", error=sample.error)
    return Reply(
        mark="correct" if sample.scores.correct else "wrong",
        text=answer.text,
        choice=answer.choice,
        confidence=answer.confidence,
        evidence=answer.evidence.text,
        notes=tuple(step.note for step in answer.trace if step.note),
        verdict=verdict.model_dump() if verdict else None,
    )


def _strips(samples: Sequence[Sample | None], truth: Truth | None, max_frames: int) -> tuple[Strip, ...]:
    """Make a filmstrip for each visual, and for each version of a changed file."""
    answers = [sample.answer if sample else None for sample in samples]
    visuals = {(position, each.digest): each for answer in answers if answer for position, each in enumerate(answer.visuals)}
    strips = []
    for (position, digest), visual in sorted(visuals.items(), key=lambda item: item[0][0]):
        sampled, core, texts = set[Frame](), dict[Frame, list[int]](), dict[tuple[int, Frame], str]()
        for run, answer in enumerate(answers):
            if not answer or (position, digest) not in enumerate(each.digest for each in answer.visuals):
                continue
            sampled |= {frame for frame in answer.frames if frame.visual == position}
            for chosen in answer.core_frames:
                if chosen.frame.visual == position:
                    core.setdefault(chosen.frame, []).append(run)
                    texts[run, chosen.frame] = chosen.why
            texts |= {(run, caption.frame): caption.text for caption in answer.captions}
        shown = _evenly_in_time(core, max_frames)
        shown += _evenly_in_time(sampled - {*core}, max_frames - len(shown))
        tiles = tuple(
            Tile(
                index=frame.index,
                time=frame.time,
                needed=truth is not None and any(span.holds(frame) for span in truth.spans),
                core=tuple(core.get(frame, ())),
                texts=tuple(texts.get((run, frame)) for run in range(len(answers))),
            )
            for frame in sorted(shown, key=lambda frame: frame.index)
        )
        left_out = len(sampled | {*core}) - len(tiles)
        strips.append(
            Strip(source=visual.source, digest=digest, width=visual.width, height=visual.height, tiles=tiles, left_out=left_out)
        )
    return tuple(strips)


def _evenly_in_time(frames: Iterable[Frame], count: int) -> list[Frame]:
    return media.evenly_spaced(sorted(frames, key=lambda frame: frame.index), count)


def _pictures(entries: Sequence[Entry], on_clip: Callable[[int, int], None]) -> tuple[Pictures, tuple[str, ...]]:
    """Decode the frames of all filmstrips; also return the sources that are missing or changed."""
    sources, wanted = dict[str, str](), dict[str, set[int]]()
    for strip in (strip for entry in entries for strip in entry.strips):
        sources.setdefault(strip.digest, strip.source)
        wanted.setdefault(strip.digest, set()).update(tile.index for tile in strip.tiles)

    def decode(digest: str) -> dict[int, str] | None:
        indices = sorted(wanted[digest])
        try:
            clip = media.open(sources[digest])
            if clip.digest == digest:
                pixels = clip.decode(indices, size=PICTURE_PX)
                return {index: media.thumbnail_url(each) for index, each in zip(indices, pixels, strict=True)}
        except MediaError:
            pass
        return None

    pictures, gone = Pictures(), []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for done, (digest, urls) in enumerate(zip(wanted, threads.map(decode, wanted), strict=True), 1):
            if urls is None:
                gone.append(sources[digest])
            else:
                pictures[digest] = urls
            on_clip(done, len(wanted))
    return pictures, tuple(gone)


def _plot(runs: Sequence[RunColumn]) -> Plot | None:
    """Plot accuracy against TFLOPs, or against visual tokens if the TFLOPs of a run are unknown."""
    bounds = [bound for run in runs for bound in (run.metrics.accuracy_low, run.metrics.accuracy_high)]
    for costs, name in (
        ([run.metrics.tflops_all for run in runs], "TFLOPs per question, all models"),
        ([run.metrics.visual_tokens for run in runs], "visual tokens per question"),
    ):
        known = tuple(cost for cost in costs if cost is not None)
        if len(known) == len(runs):
            return Plot(_axis(name, 0, max(known) or 1), _axis("accuracy", min(bounds), max(bounds)), known)
    return None


def _axis(name: str, low: float, high: float) -> Axis:
    return Axis(name, tuple(map(float, MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high))))
