"""Runs side by side as one HTML page: accuracy by task and against cost, every number, and every sample to look through.

`espresso eval report RUN... --html FILE` writes it. The page is one file with its pictures inside; it loads nothing from
anywhere, and its program (`page.js`) draws only the samples that are looked at. The numbers are of the questions that all runs
were asked, as in `eval.report.table`; the samples are all there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from matplotlib.ticker import MaxNLocator

from espresso import media, report
from espresso.errors import MediaError
from espresso.schema import Frame, Record, Truth, Verdict
from eval.log.run_folder import samples_in
from eval.metrics import Sample
from eval.report.table import Run, compare, rows

PICTURE_PX = 160
"""Longest side of a picture on a filmstrip, which is shown at about half of that: screens have fine pixels."""
PICTURES = 12_000
"""About so many pictures make a page that still opens in under two seconds (`benchmarks/page.py`): 25 MB."""
STRIP = (6, 32)
"""The most frames that a filmstrip shows: the fewer, the more clips share the page's pictures, but within these bounds."""

Item = TypeVar("Item")
Pictures = dict[str, dict[int, str]]
"""A visual's digest -> a frame's index -> its picture as a `data:` URL."""


class Tile(Record):
    """A frame on a filmstrip. time: seconds. needed: whether it lies in a stretch that the question needs.

    core: places of the runs that answered from it. said: what each run's captioner saw, or why the frame was chosen.
    """

    index: int
    time: float
    needed: bool
    core: tuple[int, ...]
    said: tuple[str | None, ...]


class Strip(Record):
    """What the runs looked at of one visual, in time order. left_out: how many frames more they looked at."""

    source: str
    digest: str
    width: int
    height: int
    tiles: tuple[Tile, ...]
    left_out: int


class Reply(Record):
    """What became of a question in one run. mark: "right", "wrong" or "error". choice: the letter it was shown under."""

    mark: str
    text: str = ""
    choice: str | None = None
    confidence: float | None = None
    evidence: str = ""
    error: str | None = None
    notes: tuple[str, ...] = ()
    verdict: dict[str, Any] | None = None


class Entry(Record):
    """A question and each run's reply, None where it was not asked. answer, evidence: the reference, where it is known."""

    id: str
    task: str | None
    question: str
    options: tuple[str, ...] | None
    answer: str | None
    evidence: str | None
    strips: tuple[Strip, ...]
    replies: tuple[Reply | None, ...]


@dataclass(frozen=True)
class Axis:
    """An axis of a plot. ticks: values; the first and the last are its ends."""

    name: str
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """How far along the axis a value lies, in per cent."""
        return 100 * (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])


@dataclass(frozen=True)
class Plot:
    """Accuracy against cost. costs: of each run, in the unit of the axis."""

    cost: Axis
    accuracy: Axis
    costs: tuple[float, ...]


def write(
    path: str | Path,
    folders: Sequence[Path],
    *,
    verdicts: Sequence[Mapping[str, Verdict | None]] = (),
    on_clip: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[str, ...]:
    """Write the page about runs; it appears whole or not at all. Returns the visuals that are gone: it has no pictures of them.

    verdicts: for each run, sample id -> a judge's scores. on_clip: hears (done, all) of the clips that are decoded.
    Raises DataError as `eval.report.table.compare` does, and where the page cannot be written.
    """
    path = report.check(path)
    runs, samples = compare(folders), [samples_in(folder) for folder in folders]
    entries = _entries(samples, verdicts or [{} for _ in folders])
    pictures, gone = _pictures(entries, on_clip)
    html = report.template(Path(__file__).with_name("page.html.jinja")).render(
        runs=runs,
        rows=rows(runs),
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
    """Put together what the runs say about each question, in the order in which it was asked first."""
    asked = [{sample.id: sample for sample in samples} for samples in runs]
    clips = {visual.digest for run in runs for sample in run if sample.answer for visual in sample.answer.visuals}
    most = min(max(PICTURES // max(1, len(clips)), STRIP[0]), STRIP[1])
    entries = []
    for name in dict.fromkeys(sample.id for samples in runs for sample in samples):
        samples = [run.get(name) for run in asked]
        question = next(sample.question for sample in samples if sample)
        entries.append(
            Entry(
                id=name,
                task=question.task,
                question=question.text,
                options=question.options,
                answer=question.answer,
                evidence=question.truth.evidence if question.truth else None,
                strips=_strips(samples, question.truth, most),
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
        mark="right" if sample.scores.correct else "wrong",
        text=answer.text,
        choice=answer.choice,
        confidence=answer.confidence,
        evidence=answer.evidence.text,
        notes=tuple(step.note for step in answer.trace if step.note),
        verdict=verdict.model_dump() if verdict else None,
    )


def _strips(samples: Sequence[Sample | None], truth: Truth | None, most: int) -> tuple[Strip, ...]:
    """Make one for each visual (and each version of a file that was changed between runs), of at most so many frames."""
    answers = [sample.answer if sample else None for sample in samples]
    visuals = {(place, each.digest): each for answer in answers if answer for place, each in enumerate(answer.visuals)}
    strips = []
    for (place, digest), visual in sorted(visuals.items(), key=lambda item: item[0][0]):
        seen, core, said = set[Frame](), dict[Frame, list[int]](), dict[tuple[int, Frame], str]()
        for run, answer in enumerate(answers):
            if not answer or (place, digest) not in enumerate(each.digest for each in answer.visuals):
                continue
            seen |= {frame for frame in answer.frames if frame.visual == place}
            for chosen in answer.core_frames:
                if chosen.frame.visual == place:
                    core.setdefault(chosen.frame, []).append(run)
                    said[run, chosen.frame] = chosen.why
            said |= {(run, caption.frame): caption.text for caption in answer.captions}
        shown = _spread([*core], most)
        shown += _spread([frame for frame in seen if frame not in core], most - len(shown))
        tiles = tuple(
            Tile(
                index=frame.index,
                time=frame.time,
                needed=truth is not None and any(span.holds(frame) for span in truth.spans),
                core=tuple(core.get(frame, ())),
                said=tuple(said.get((run, frame)) for run in range(len(answers))),
            )
            for frame in sorted(shown, key=lambda frame: frame.index)
        )
        left_out = len(seen | {*core}) - len(tiles)
        strips.append(
            Strip(source=visual.source, digest=digest, width=visual.width, height=visual.height, tiles=tiles, left_out=left_out)
        )
    return tuple(strips)


def _spread(frames: list[Frame], most: int) -> list[Frame]:
    """Take at most so many, evenly in time."""
    ordered = sorted(frames, key=lambda frame: frame.index)
    if len(ordered) <= most:
        return ordered
    return [ordered[int((number + 0.5) * len(ordered) / most)] for number in range(most)]


def _pictures(entries: Sequence[Entry], on_clip: Callable[[int, int], None]) -> tuple[Pictures, tuple[str, ...]]:
    """Decode each frame that a filmstrip shows, once; and tell the sources that are gone, or no longer what they were."""
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
        for done, (digest, found) in enumerate(zip(wanted, threads.map(decode, wanted), strict=True), 1):
            if found is None:
                gone.append(sources[digest])
            else:
                pictures[digest] = found
            on_clip(done, len(wanted))
    return pictures, tuple(gone)


def _plot(runs: Sequence[Run]) -> Plot | None:
    """Lay out accuracy against the cheapest true measure of cost that all runs have: operations, else visual tokens."""
    for metric, name in (("tflops_all", "TFLOPs a question, all models"), ("visual_tokens", "visual tokens a question")):
        costs = [run.metrics[metric] for run in runs]
        if None not in costs:
            known = tuple(cast(list[float], costs))
            bounds = [cast(float, run.metrics[end]) for run in runs for end in ("accuracy_low", "accuracy_high")]
            return Plot(_axis(name, 0, max(known) or 1), _axis("accuracy", min(bounds), max(bounds)), known)
    return None


def _axis(name: str, low: float, high: float) -> Axis:
    return Axis(name, tuple(map(float, MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high))))
