"""What the trained selector owes to each of its parts, measured on videos that it has not seen.

    uv run python -m benchmarks.selector_ablations --data FOLDER

FOLDER holds the captions and questions of NExT-GQA. In each variant one thing differs from the
config's training, here of one network; the table has hit rates in folds by video, and paired
differences from the config's training, with 95 % intervals that include the differences between
trainings. A variant that the output folder has with the same settings is not trained again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from agents.ranking.features import COLUMNS, ClipFeatures
from agents.ranking.pick import pick
from espresso.files import write_atomic
from eval.selection.measure import BUDGET
from eval.stats import seeded_interval
from finetune.config import read_config
from finetune.selector.config import SelectorConfig
from finetune.selector.cross_validate import fold_of
from finetune.selector.data import Example
from finetune.selector.train import fit, load_examples

COUNTS = (1, 2, 4)
NEAR = 2
"""Captions so close to a true span are left out in the variant without near negatives."""


@dataclass(frozen=True)
class Variant:
    """One thing that differs."""

    name: str
    config: dict[str, object]
    """Values of the config that differ."""
    change: Callable[[Example], Example] = lambda example: example
    """Changes what is known of a question, in training and test."""
    training: Callable[[Example], Example] = lambda example: example
    """Changes a question in training only."""
    options: bool = True
    """Whether options are shown in the test."""


def without(*groups: str) -> Callable[[Example], Example]:
    """Return a change that sets groups of features to zero."""

    def change(clip: ClipFeatures) -> ClipFeatures:
        features = clip.features.copy()
        for group in groups:
            features[:, COLUMNS[group]] = 0
        return replace(clip, features=features)

    return lambda example: _both(example, change)


def without_time(clip: ClipFeatures) -> ClipFeatures:
    """Forget the parts around a temporal word, and what the question says about time."""
    features = clip.features.copy()
    features[:, [*range(2, 6), 10, 11]] = 0  # in the order of `clip_features`
    features[:, COLUMNS["indicators"]] = 0
    return replace(clip, features=features)


def windowed(clip: ClipFeatures) -> ClipFeatures:
    """Replace what is known of each caption by the mean with its two neighbours."""
    features = clip.features.copy()
    for group in ("question", "options"):
        features[:, COLUMNS[group]] = _mean_of_three(features[:, COLUMNS[group]])
    return ClipFeatures(_mean_of_three(clip.products), features)


def without_products(clip: ClipFeatures) -> ClipFeatures:
    """Set the products of embeddings to zero."""
    return replace(clip, products=np.zeros_like(clip.products))


def shuffled(example: Example) -> Example:
    """Put the captions into a random order, the same one in each call."""
    return _rows(example, _order(example))


def without_near_negatives(example: Example) -> Example:
    """Leave out the captions just outside the true spans."""
    at = np.flatnonzero(example.inside)
    distance = np.abs(np.arange(len(example.inside))[:, None] - at).min(1, initial=len(example.inside))
    return _rows(example, np.flatnonzero((distance == 0) | (distance > NEAR)))


VARIANTS = (
    Variant("as configured", {}),
    Variant("listwise loss only", {"loss": "listwise"}),
    Variant("contrastive loss only", {"loss": "contrastive"}),
    Variant("no options at all", {"without_options": 1.0}, options=False),
    Variant("captions in random order", {}, shuffled),
    Variant("mean of three captions", {}, lambda example: _both(example, windowed)),
    Variant("no near negatives", {}, training=without_near_negatives),
    Variant("no temporal words", {}, lambda example: _both(example, without_time)),
    Variant("no change between captions", {}, without("change")),
    Variant("no position", {}, without("position")),
    Variant("no similarities and words", {}, without("question", "options")),
    Variant("no products of embeddings", {}, lambda example: _both(example, without_products)),
)


def main() -> None:
    """Train and measure the variants; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("finetune/configs/selector/nextgqa.yaml"))
    parser.add_argument("--data", type=Path, required=True, help="folder with questions.jsonl and captions_1fps.zip")
    parser.add_argument("--out", type=Path, default=Path("runs/selector-ablations"), help="folder of what was chosen")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each variant")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    config = read_config(options.config, SelectorConfig, data=options.data, threads=options.threads, members=1)
    examples, _ = asyncio.run(load_examples(config, _say))
    clusters = [each.question.video for each in examples]
    heads = [*(f"hit@{count}" for count in COUNTS), "precision, its own frames"]
    print(f"{len(examples)} questions, {options.seeds} trainings\n\n| | {' | '.join(heads)} |\n{'|---' * 5}|")
    reference: np.ndarray | None = None
    for variant in VARIANTS:
        values = np.stack(
            [_values(variant, examples, config.model_copy(update={"seed": seed}), options) for seed in range(options.seeds)]
        )
        cells = [_cell(values[..., at], None if reference is None else reference[..., at], clusters) for at in range(len(heads))]
        print(f"| {variant.name} | {' | '.join(cells)} |", flush=True)
        reference = values if reference is None else reference


def _values(variant: Variant, examples: Sequence[Example], config: SelectorConfig, options: argparse.Namespace) -> np.ndarray:
    """Return hits with each number of frames, and precision, shape (questions, numbers + 1)."""
    own = config.model_copy(update=variant.config)
    settings = own.model_dump_json(exclude={"output", "threads"}) + f"{options.folds} {len(examples)}"
    file = options.out / f"{variant.name.replace(' ', '-')}-seed{own.seed}-{sha256(settings.encode()).hexdigest()[:8]}.json"
    if not file.is_file():
        options.out.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(_chosen(variant, examples, own, options.folds)))
    rows = list[list[float]]()
    for each, chosen in zip(examples, json.loads(file.read_text(encoding="utf-8")), strict=True):
        inside = [each.inside[positions] for positions in chosen]
        rows.append([*(float(values.any()) for values in inside[:-1]), float(inside[-1].mean())])
    return np.array(rows)


def _chosen(variant: Variant, examples: Sequence[Example], config: SelectorConfig, folds: int) -> list[list[list[int]]]:
    """Return the frames chosen for each question, for each of `COUNTS` and of its own number."""
    changed = [variant.change(each) for each in examples]
    chosen: list[list[list[int]]] = [[] for _ in examples]
    for fold in range(folds):
        held_out = [at for at, each in enumerate(examples) if fold_of(each.question.video, folds) == fold]
        rest = [variant.training(each) for each in changed if fold_of(each.question.video, folds) != fold]
        _say(f"{variant.name}, seed {config.seed}, fold", fold + 1, folds)
        trained = fit(rest, config, lambda *_: None)
        for at in held_out:
            relevance = trained.relevance(changed[at].with_options if variant.options else changed[at].without_options)
            if variant.change is shuffled:
                relevance = relevance[np.argsort(_order(examples[at]))]
            times, least = examples[at].question.times, float(relevance.max()) - config.margin
            chosen[at] = [pick(relevance, times, count) for count in COUNTS]
            chosen[at].append([each for each in pick(relevance, times, BUDGET) if relevance[each] >= least])
    return chosen


def _cell(values: np.ndarray, reference: np.ndarray | None, clusters: Sequence[str]) -> str:
    if reference is None:
        return f"{values.mean():.3f}"
    gain, low, high = seeded_interval(values - reference, clusters, within=(-1, 1))
    return f"{values.mean():.3f} ({gain:+.3f}, {low:+.3f} to {high:+.3f})"


def _both(example: Example, change: Callable[[ClipFeatures], ClipFeatures]) -> Example:
    return replace(example, with_options=change(example.with_options), without_options=change(example.without_options))


def _rows(example: Example, rows: np.ndarray) -> Example:
    kept = _both(example, lambda clip: ClipFeatures(clip.products[rows], clip.features[rows]))
    return replace(kept, inside=example.inside[rows])


def _order(example: Example) -> np.ndarray:
    return np.random.default_rng(len(example.inside)).permutation(len(example.inside))


def _mean_of_three(values: np.ndarray) -> np.ndarray:
    wide = np.pad(values, ((1, 1), (0, 0)), mode="edge")
    mean: np.ndarray = (wide[:-2] + wide[1:-1] + wide[2:]) / 3
    return mean.astype(np.float32)


def _say(doing: str, done: int, total: int) -> None:
    print(f"{doing} {done}/{total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
