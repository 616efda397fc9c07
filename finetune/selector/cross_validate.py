"""Measure a selector's training on videos that it has not seen: `--folds 5`.

The questions are split by video. For each fold, a head is trained on the others and chooses frames
for the questions of this one, with and without their options. The table compares them with uniform
frames and with the cosine similarity of the same embedder.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from agents.ranking import head
from agents.ranking.head import Head
from agents.ranking.pick import pick
from agents.ranking.rank import from_cosine
from eval.selection import report
from eval.selection.measure import BUDGET, COUNTS, Choices, Row, Way, score, uniform
from finetune.checkpoints import writing
from finetune.selector.config import SelectorConfig
from finetune.selector.data import Example
from finetune.selector.train import Progress, fit


def cross_validate(examples: Sequence[Example], config: SelectorConfig, folds: int, on_progress: Progress) -> list[Row]:
    """Train and measure on each fold; write tables and a plot to `<output>-folds`.

    A fold that was trained before with the same config is not trained again.

    Args:
        examples: all questions.
        config: architecture and training.
        folds: number of parts.
        on_progress: called with what is done, the number of finished items and of all.

    Raises DataError if the folder cannot be written.
    """
    folder = config.output.with_name(f"{config.output.name}-folds")
    chosen: dict[Way, dict[int, dict[int | None, tuple[int, ...]]]] = {"trained": {}, "trained without options": {}}
    for fold in range(folds):
        held_out = [at for at, each in enumerate(examples) if fold_of(each.question.video, folds) == fold]

        def report_fold(doing: str, done: int, total: int, name: str = f"fold {fold + 1} of {folds}, ") -> None:
            on_progress(name + doing, done, total)

        rest = [each for each in examples if fold_of(each.question.video, folds) != fold]
        trained = _trained(rest, config, folder, f"{fold + 1}-of-{folds}", report_fold)
        for at in held_out:
            for way, by_question in chosen.items():
                by_question[at] = _choose(trained, examples[at], options=way == "trained")
    choices: dict[Way, Choices] = {
        "uniform": _each(examples, lambda each, count: uniform(len(each.inside), count)),
        "cosine": _each(examples, lambda each, count: tuple(pick(from_cosine(_cosine(each)), each.question.times, count))),
        **{
            way: {count: [by_question[at][count] for at in range(len(examples))] for count in (*COUNTS, None)}
            for way, by_question in chosen.items()
        },
    }
    rows = score([each.question for each in examples], choices)
    report.write(rows, folder)
    return rows


def fold_of(video: str, folds: int) -> int:
    """Return the fold of a video: the same for a name in every run."""
    return int.from_bytes(sha256(video.encode()).digest()[:8]) % folds


def _trained(examples: Sequence[Example], config: SelectorConfig, folder: Path, name: str, on_progress: Progress) -> Head:
    """Return the head of a fold: the one on disk if it was trained in the same way."""
    settings = config.model_dump_json(exclude={"output", "threads"})
    questions = "".join(each.question.model_dump_json() for each in examples)
    place = folder / f"{name}-{sha256((settings + questions).encode()).hexdigest()[:8]}"
    if (place / head.CONFIG_FILE).exists():
        return head.load(place)
    trained = fit(examples, config, on_progress)
    with writing(folder, "a fold's selector"):
        place.mkdir(parents=True, exist_ok=True)
        head.save(trained, place)
    return head.load(place)  # rounded to half precision, as it is shipped


def _choose(trained: Head, example: Example, *, options: bool) -> dict[int | None, tuple[int, ...]]:
    """Choose 1, 2, ... frames, and (None) as many as are worth it."""
    relevance = trained.relevance(example.with_options if options else example.without_options)
    times = example.question.times
    chosen: dict[int | None, tuple[int, ...]] = {count: tuple(pick(relevance, times, count)) for count in COUNTS}
    least = float(relevance.max()) - trained.config.margin
    chosen[None] = tuple(at for at in pick(relevance, times, BUDGET) if relevance[at] >= least)
    return chosen


def _cosine(example: Example) -> np.ndarray:
    """Return the cosine similarity of each caption and the question: products sum to it."""
    similarity: np.ndarray = example.without_options.products.sum(1)
    return similarity


def _each(examples, choose):  # type: ignore[no-untyped-def]
    return {count: [choose(each, count or BUDGET) for each in examples] for count in (*COUNTS, None)}
