"""Measure ways to select frames by captions: hits, precision, coverage of the true spans.

A hit is a question for which a chosen frame lies inside a true span. Each way chooses a fixed
number of frames (1, 2, 4, 8), and as many as it finds necessary within a budget. Baselines see no
question (uniform, random), words only (BM25), or the similarity of sentence embeddings (cosine).
Intervals are robust to clusters of questions about one video.

Choices are logged, so the same command resumes an interrupted measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np

from agents.answer.select import choose
from agents.ranking.embeddings import embed
from agents.ranking.features import standardized
from agents.ranking.pick import pick
from agents.ranking.rank import from_cosine
from agents.ranking.words import bm25
from agents.session import Session
from espresso.datasets.nextqa.nextgqa import CaptionedQuestion
from espresso.errors import ProfileError
from espresso.log import JsonlLog, LogEntry
from espresso.models.embedder import Embedder
from espresso.profiles import LocalRanker
from espresso.profiles.weights import identity
from espresso.schema import Caption, Frame, Record
from eval.stats import difference, interval, mean_interval

Way = Literal["uniform", "random", "bm25", "cosine", "embedding", "trained", "trained without options", "llm", "hybrid"]
"""A way to select frames. `embedding` and `trained` are the strategy of the answer graph, without
and with the ranker's head; `cosine` spreads frames and knows no other rule."""
COUNTS = (1, 2, 4, 8)
"""Fixed numbers of frames."""
BUDGET = 4
"""Most frames where the way itself decides how many."""
BASELINES: tuple[Way, ...] = ("uniform", "cosine")
"""What the others are compared with."""


class Setup(Record):
    """What determines the choices of a log."""

    dataset: str
    questions: str
    """SHA-256 of all questions with captions and spans."""
    profile: str
    selector: str
    """Name of the language model; it changes with its weights."""
    ranker: str | None
    head: str | None
    seed: int


class Chosen(LogEntry):
    """The frames that a way chose for a question; `id` is the question's, with way and count."""

    positions: tuple[int, ...]
    """Positions of the captions, the best first if the way has an order."""
    note: str | None = None


class Value(Record):
    """A mean over the questions with its 95 % interval."""

    mean: float
    low: float
    high: float


class Against(Record):
    """A paired difference from a baseline with its 95 % interval."""

    baseline: Way
    difference: float
    low: float
    high: float


class Row(Record):
    """One way with one number of frames."""

    way: Way
    count: int | None
    """Number of frames; None if the way decides, within `BUDGET`."""
    kind: str
    """Type of the questions, or "all"."""
    n: int
    frames: float
    """Chosen frames per question."""
    hit: Value
    """Share of questions with a chosen frame inside a true span."""
    precision: Value
    """Share of the chosen frames that lie inside a true span."""
    coverage: Value
    """Share of the true spans that hold a chosen frame."""
    hit_against: tuple[Against, ...] = ()
    precision_against: tuple[Against, ...] = ()


async def measure(
    questions: Sequence[CaptionedQuestion],
    session: Session,
    ways: Sequence[Way],
    out: Path,
    *,
    dataset: str,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] = lambda doing, done, total: None,
) -> list[Row]:
    """Let each way choose frames for each question, and score the choices.

    Args:
        questions: the questions.
        session: the session. Its ranker is needed by all ways but uniform, random, bm25 and llm.
        ways: what to compare; the baselines are always among them.
        out: folder of the log.
        dataset: name of the dataset, for the log.
        seed: seed of random frames.
        on_progress: called with what is done, the number of finished questions and of all.

    Raises:
        DataError: the folder holds another measurement.
        ModelError: a model cannot be loaded or does not answer.
        ProfileError: the profile lacks the ranker, or its head, that a way needs.
    """
    ways = list(dict.fromkeys([*_possible_baselines(session), *ways]))
    _check(ways, session)
    role = session.profile.ranker
    setup = Setup(
        dataset=dataset,
        questions=sha256("\n".join(each.model_dump_json() for each in questions).encode()).hexdigest()[:16],
        profile=session.profile.name,
        selector=session.roles.selector.name,
        ranker=session.roles.ranker.name if session.roles.ranker else None,
        head=identity(role.head) if isinstance(role, LocalRanker) and role.head else None,
        seed=seed,
    )
    with JsonlLog(out, "selection", setup, lines="chosen.jsonl", entry=Chosen, done=lambda entry: True) as log:
        chosen = {entry.id: entry.positions for entry in log.entries}
        for way in ways:
            for done, question in enumerate(questions):
                on_progress(way, done, len(questions))
                for count in (*COUNTS, None):
                    key = _key(question, way, count)
                    if key not in chosen:
                        positions, note = await _choose(way, question, count, session, seed)
                        log.append(Chosen(id=key, positions=positions, note=note))
                        chosen[key] = positions
            on_progress(way, len(questions), len(questions))
    return score(questions, {way: _by_count(questions, way, chosen) for way in ways})


def _possible_baselines(session: Session) -> tuple[Way, ...]:
    return BASELINES if session.roles.ranker else BASELINES[:1]


def _key(question: CaptionedQuestion, way: Way, count: int | None) -> str:
    return f"{question.id} {way} {count or 'auto'}"


def _by_count(questions: Sequence[CaptionedQuestion], way: Way, chosen: dict[str, tuple[int, ...]]) -> Choices:
    return {count: [chosen[_key(question, way, count)] for question in questions] for count in (*COUNTS, None)}


def _check(ways: Sequence[Way], session: Session) -> None:
    """Raise ProfileError if the profile lacks what a way needs."""
    role = session.profile.ranker
    if role is None and (lacking := [way for way in ways if way not in ("uniform", "random", "bm25", "llm")]):
        raise ProfileError(f"profile {session.profile.name} has no [ranker], which {', '.join(lacking)} need. Add one.")
    if "trained" in ways and not (isinstance(role, LocalRanker) and role.head):
        raise ProfileError(f"profile {session.profile.name}: its [ranker] has no head. Name one, or leave out --way trained.")


Choices = dict[int | None, list[tuple[int, ...]]]
"""Number of frames -> the positions chosen for each question."""


async def _choose(
    way: Way, question: CaptionedQuestion, count: int | None, session: Session, seed: int
) -> tuple[tuple[int, ...], str | None]:
    """Return the positions that a way chooses, and a note."""
    total, budget = len(question.captions), count or BUDGET
    match way:
        case "uniform":
            return uniform(total, budget), None
        case "random":
            rng = np.random.default_rng([seed, int.from_bytes(sha256(question.id.encode()).digest()[:8])])
            return tuple(sorted(rng.choice(total, min(budget, total), replace=False).tolist())), None
        case "bm25":
            return tuple(pick(standardized(bm25(question.question, question.captions)), question.times, budget)), None
        case "cosine":
            return tuple(pick(from_cosine(await cosine(question, session.roles.ranker, session)), question.times, budget)), None
    captions = [
        Caption(frame=Frame(index=position, time=time), text=text)
        for position, (time, text) in enumerate(zip(question.times, question.captions, strict=True))
    ]
    choice = await choose(
        question.question,
        () if way == "trained without options" else question.options,
        captions,
        session if way != "embedding" else _without_head(session),
        by=way if way in ("llm", "hybrid") else "embedding",
        budget=budget,
        fill=count is not None,
    )
    return tuple(each.frame.index for each in choice.captions), "; ".join(note for note in choice.notes if note) or None


def uniform(total: int, count: int) -> tuple[int, ...]:
    """Return the positions in the middle of `count` equal parts, at most all."""
    return tuple(sorted({int((part + 0.5) * total / count) for part in range(count)}))


async def cosine(question: CaptionedQuestion, ranker: Embedder | None, session: Session) -> np.ndarray:
    """Return the cosine similarity of each caption and the question, shape (n,)."""
    assert ranker, "the profile has a [ranker]"
    vectors = await embed([question.question, *question.captions], ranker, session.cache)
    similarity: np.ndarray = np.stack([vectors[caption] for caption in question.captions]) @ vectors[question.question]
    return similarity


def _without_head(session: Session) -> Session:
    """Return the session with a ranker that scores by cosine similarity."""
    role = session.profile.ranker
    update = {"ranker": role.model_copy(update={"head": None})} if isinstance(role, LocalRanker) else {}
    return Session(session.profile.model_copy(update=update), roles=session.roles, cache=session.cache or False)


def score(questions: Sequence[CaptionedQuestion], choices: dict[Way, Choices]) -> list[Row]:
    """Score choices, for all questions and by type.

    Args:
        questions: the questions.
        choices: the choices of each way, in the order of the questions.
    """
    kinds = sorted({question.kind for question in questions})
    groups = {"all": list(range(len(questions)))} | {
        kind: [at for at, question in enumerate(questions) if question.kind == kind] for kind in kinds
    }
    return [
        _row(way, count, kind, [questions[at] for at in members], [chosen[at] for at in members],
             {base: [choices[base][count][at] for at in members] for base in BASELINES if base in choices and base != way})
        for way, by_count in choices.items()
        for count, chosen in by_count.items()
        for kind, members in groups.items()
    ]  # fmt: skip


def _row(
    way: Way,
    count: int | None,
    kind: str,
    questions: Sequence[CaptionedQuestion],
    chosen: Sequence[tuple[int, ...]],
    baselines: dict[Way, list[tuple[int, ...]]],
) -> Row:
    clusters = [question.video for question in questions]
    hits, precision, coverage = _scores(questions, chosen)
    against_hit, against_precision = [], []
    for baseline, theirs in baselines.items():
        their_hits, their_precision, _ = _scores(questions, theirs)
        mean, low, high, _ = difference(hits, their_hits, clusters)
        against_hit.append(Against(baseline=baseline, difference=mean, low=low, high=high))
        gains = [ours - other for ours, other in zip(precision, their_precision, strict=True)]
        low, high = mean_interval(gains, clusters, within=(-1, 1))
        against_precision.append(Against(baseline=baseline, difference=fmean(gains), low=low, high=high))
    low, high = interval(hits, clusters)
    return Row(
        way=way,
        count=count,
        kind=kind,
        n=len(questions),
        frames=fmean(len(each) for each in chosen),
        hit=Value(mean=fmean(hits), low=low, high=high),
        precision=_mean(precision, clusters),
        coverage=_mean(coverage, clusters),
        hit_against=tuple(against_hit),
        precision_against=tuple(against_precision),
    )


def _scores(
    questions: Sequence[CaptionedQuestion], chosen: Sequence[tuple[int, ...]]
) -> tuple[list[bool], list[float], list[float]]:
    """Return hits, precision and coverage of each question."""
    hits, precision, coverage = [], [], []
    for question, positions in zip(questions, chosen, strict=True):
        inside = question.relevant.intersection(positions)
        hits.append(bool(inside))
        precision.append(len(inside) / len(positions) if positions else 0.0)
        coverage.append(fmean(bool(set(span).intersection(positions)) for span in question.spans))
    return hits, precision, coverage


def _mean(values: Sequence[float], clusters: Sequence[str]) -> Value:
    low, high = mean_interval(values, clusters, within=(0, 1))
    return Value(mean=fmean(values), low=low, high=high)
