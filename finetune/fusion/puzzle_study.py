"""The experiments on SMART-101 for generated puzzles: `espresso eval study smart101 CONFIG`.

Towers are pre-trained on pictures of puzzles, and classifiers are trained on their features with
several seeds: on the four splits, with three fusions, stronger and weaker towers, alignment
directions, and heads that classify or generate; and with the picture or the question hidden. LVLM
pipelines answer the same questions. For the puzzle and few-shot splits, the towers have not seen
pictures of the val and test puzzles.

O_acc is the share of questions whose option is correct, S_acc that of predicted values that equal
the answer's; a classifier of options has no S_acc. WOSA weighs each root puzzle with its difficulty
(`espresso.datasets.smart101.scores`). Guessing gives an O_acc of 20 %.

Intervals are for questions and trainings, see `eval.stats.seeded_interval`; those of differences
are a paired bootstrap, see `eval.stats.paired_bootstrap`. For the puzzle split, questions of one
root puzzle are a cluster: the claim is about new puzzles. The others are claims about new questions
of the same puzzles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from espresso.datasets.base import DatasetFiles
from espresso.datasets.smart101.splits import Kind
from espresso.fusion.config import Align, Merge, PuzzleHead
from espresso.fusion.processor import FusionProcessor
from espresso.fusion.puzzles import PuzzleClassifier
from espresso.profiles.weights import weights_digest
from finetune.frames import frame_reader
from finetune.fusion.config import Smart101Study
from finetune.fusion.puzzles import Hidden, PuzzleCollator, Row, features_of, load_rows, predict
from finetune.fusion.studies import (
    Progress,
    StudyRow,
    answered,
    claim,
    estimate,
    once,
    paired_estimate,
    pipeline_answers,
    share_work,
    train_stage,
    write,
)

UNRELATED = ("output", "seeds", "pipelines", "save_every", "workers", "threads")
"""Keys of a configuration that may change when a study goes on."""

Towers = Literal["longer", "shorter"]
"""How long the towers are pre-trained."""


@dataclass(frozen=True)
class Setting:
    """A classifier but for its seed."""

    split: Kind

    head: PuzzleHead

    merge: Merge

    align: Align

    towers: Towers = "longer"

    hidden: Hidden = None
    """What it does not see, in training and test."""

    def name(self, seed: int) -> str:
        """Return the name of the folder of a seed."""
        parts = [self.split, self.head, self.merge, f"align-{self.align}", self.towers]
        return "-".join([*parts, *([f"no-{self.hidden}"] if self.hidden else []), f"seed{seed}"])


SPLIT_NAMES: dict[Kind, str] = {"is": "IS", "as": "AS", "fs": "FS", "ps": "PS"}
"""Splits: instances, answers, few-shot, puzzles."""
HELD_OUT: tuple[Kind, ...] = ("ps", "fs")
"""Splits whose towers have not seen pictures of the val and test puzzles."""
COMPARED: tuple[Kind, ...] = ("is", "ps")
"""Splits on which fusions, heads and LVLM pipelines are compared."""
SPLITS, FUSION, TOWERS, ALIGN, HEADS, MODALITIES = (
    "Splits", "Fusion", "Towers", "Alignment", "Classification and generation", "Modalities",
)  # fmt: skip
ONE_MODALITY: dict[Hidden, str] = {None: "picture and question", "question": "picture alone", "picture": "question alone"}
DIFFERENCES = (
    *((FUSION, "attention", other) for other in ("concatenation", "pooling")),
    (TOWERS, "longer pre-training", "shorter pre-training"),
    *((ALIGN, name, "none") for name in ("text-to-image", "image-to-text", "both")),
    (HEADS, "per-puzzle", "shared"), (HEADS, "per-puzzle", "seq2seq"), (HEADS, "shared", "seq2seq"),
    *((MODALITIES, ONE_MODALITY[None], other) for other in (ONE_MODALITY["question"], ONE_MODALITY["picture"])),
)  # fmt: skip
"""Table, and two of its rows whose paired difference is a further row, in each split."""

Named = tuple[str, str, Setting]
"""Table without its split, row, and classifier."""


def settings_of(config: Smart101Study) -> Iterator[Named]:
    """Yield the rows of all tables."""
    basic = {split: _basic(config, split) for split in SPLIT_NAMES}
    for setting in basic.values():
        yield SPLITS, f"{setting.head} head", setting
        if setting.head != "shared":
            yield SPLITS, "shared head", replace(setting, head="shared")
    merges: tuple[Merge, ...] = ("attention", "concatenation", "pooling")
    for split in COMPARED:
        for merge in merges:
            yield FUSION, merge, replace(basic[split], merge=merge)
    lengths: tuple[Towers, ...] = ("longer", "shorter")
    for towers in lengths:
        yield TOWERS, f"{towers} pre-training", replace(basic["is"], towers=towers)
    aligns: tuple[Align, ...] = ("none", "text-to-image", "image-to-text", "both")
    for align in aligns:
        yield ALIGN, align, replace(basic["is"], align=align)
    heads: tuple[PuzzleHead, ...] = ("per-puzzle", "shared", "seq2seq")
    for split in COMPARED:
        for head in heads[split == "ps" :]:
            yield HEADS, head, replace(basic[split], head=head)
    for hidden, name in ONE_MODALITY.items():
        yield MODALITIES, name, replace(basic["is"], hidden=hidden)


def _basic(config: Smart101Study, split: Kind) -> Setting:
    """Return the classifier of a split that the others are compared with."""
    puzzles = config.puzzles
    return Setting(split, "shared" if split == "ps" else puzzles.head, puzzles.merge, puzzles.align, hidden=puzzles.hidden)


def run_study(config: Smart101Study, on_progress: Progress) -> list[StudyRow]:
    """Train and measure all classifiers; write `study.md` and `study.json` to the output folder.

    Args:
        config: what the trainings have in common; its output is the folder of the study.
        on_progress: called before each training.

    Returns:
        The rows of the tables, in order.

    Raises:
        DataError: a result cannot be written, or a training of another configuration is there.
    """
    named = list(settings_of(config))
    # Those with the same towers in a row: features are kept from one training to the next.
    settings = sorted(
        {setting for *_, setting in named}, key=lambda each: (each.split in ("ps", "fs"), each.towers, each.name(0))
    )
    trainings = [(setting, seed) for seed in config.seeds for setting in settings]
    claim(config, UNRELATED)
    share_work(
        config.output,
        trainings,
        lambda each, wait: _answers(config, *each, wait=wait),
        lambda each: each[0].name(each[1]),
        on_progress,
    )
    answers = {each: [_answers(config, each, seed, wait=True) for seed in config.seeds] for each in settings}
    rows = [*_rows(config, named, answers), *_pipelines(config)]
    write(config.output, rows)
    return rows


Answers = dict[str, list[bool]]
"""O_acc and S_acc -> whether each question counts. S_acc is left out if options were chosen."""


def _answers(config: Smart101Study, setting: Setting, seed: int, *, wait: bool) -> Answers:
    """Return the answers of a classifier to the test questions; train it if it has not answered.

    The result is None if another process trains it, and this one is not to wait.
    """
    folder = config.output / setting.name(seed)

    def make() -> Answers:
        start = _towers(config, setting, wait=wait)
        changes = {name: getattr(setting, name) for name in ("split", "head", "merge", "align", "hidden")}
        puzzles = config.puzzles.model_copy(update={**changes, "start": start})
        return _measure(config, setting, start, train_stage(config, "puzzles", folder, puzzles=puzzles, seed=seed))

    return cast(Answers, answered(folder, "puzzles", make, wait=wait))


def _towers(config: Smart101Study, setting: Setting, *, wait: bool) -> Path:
    """Return the pre-trained model that a classifier starts from; train it if it is not there."""
    held_out = setting.split in HELD_OUT
    folder = config.output / "-".join(["pretrain", setting.towers, *(["held-out"] if held_out else [])])
    data = tuple(
        each.model_copy(update={"held_out": held_out}) if each.format == "smart101" else each for each in config.pretrain.data
    )
    epochs = config.pretrain.epochs * (config.weaker if setting.towers == "shorter" else 1)
    pretrain = config.pretrain.model_copy(update={"data": data, "epochs": epochs})
    return once(folder, lambda: train_stage(config, "pretrain", folder, pretrain=pretrain), wait=wait)


def _measure(config: Smart101Study, setting: Setting, start: Path, trained: Path) -> Answers:
    model: Any = PuzzleClassifier.from_pretrained(trained)
    reader = frame_reader(config.architecture.frames, config.frame_size)
    features = features_of(start, weights_digest(start), reader) if config.puzzles.freeze else None
    collate = PuzzleCollator(model.config, FusionProcessor.from_pretrained(trained), reader, setting.hidden, features)
    rows = _questions(config, setting.split)
    found = predict(model, collate, rows)
    answers = {"O_acc": [each.option == row.puzzle.row.answer for each, row in zip(found, rows, strict=True)]}
    if setting.head != "shared":
        answers["S_acc"] = [bool(each.solved) for each in found]
    return answers


def _questions(config: Smart101Study, split: Kind) -> list[Row]:
    """Return the test questions of a split."""
    return _test_rows(split, config.test_rows, config.puzzles.data)


@cache
def _test_rows(split: Kind, rows: int, folder: Path | None) -> list[Row]:
    return load_rows(split, "test", rows, folder)


def _rows(config: Smart101Study, named: Sequence[Named], answers: Mapping[Setting, list[Answers]]) -> Iterator[StudyRow]:
    """Yield the rows of the tables."""
    for table in dict.fromkeys(table for table, *_ in named):
        here = {(setting.split, name): setting for own, name, setting in named if own == table}
        for (split, name), setting in here.items():
            yield _row(config, table, name, split, _values(answers[setting]))
        for own, ours, theirs in DIFFERENCES:
            for split in SPLIT_NAMES:
                if own == table and (split, ours) in here and (split, theirs) in here:
                    one, other = (_values(answers[here[split, each]]) for each in (ours, theirs))
                    values = {score: one[score] - other[score] for score in one if score in other}
                    yield _row(config, table, f"{ours} minus {theirs}", split, values)


def _pipelines(config: Smart101Study) -> Iterator[StudyRow]:
    """Run the LVLM pipelines of the profiles on the same questions, each in a folder of its own."""
    for profile in config.pipelines:
        for split in COMPARED:
            ids = [row.puzzle.row.id for row in _questions(config, split)]
            name = "test" if split == "is" else f"{split}-test"
            data = config.puzzles.data
            # Generated puzzles take turns, so the limit gives the same questions.
            limit, files = (None, DatasetFiles(data)) if data else (len(ids), None)
            right = pipeline_answers(config.output, profile, "smart101", name, limit=limit, files=files)
            values = {"O_acc": np.array([[right[each] for each in ids]], float)}
            yield _row(config, HEADS, f"LVLM pipeline, {Path(profile).stem}", split, values)


def _values(answers: Sequence[Answers]) -> dict[str, np.ndarray]:
    """Return each score as (seeds, questions)."""
    return {name: np.array([each[name] for each in answers], float) for name in answers[0]}


def _row(config: Smart101Study, table: str, name: str, split: Kind, values: Mapping[str, np.ndarray]) -> StudyRow:
    """Return a row of the table for its split: the scores, then O_acc of each skill."""
    puzzles = [row.puzzle for row in _questions(config, split)]
    clusters = [each.row.puzzle if split == "ps" else each.row.id for each in puzzles]
    estimated = paired_estimate if " minus " in name else estimate
    cells = {score: estimated(each, clusters) for score, each in values.items()}
    right = values["O_acc"]
    cells["WOSA"] = estimated(right * _weights(config, split), clusters)
    for skill in dict.fromkeys(each.skill for each in puzzles):
        own = [place for place, each in enumerate(puzzles) if each.skill == skill]
        cells[skill] = estimated(right[:, own], [clusters[place] for place in own])
    return StudyRow(table=f"{table}, {SPLIT_NAMES[split]}", name=name, cells=cells)


def _weights(config: Smart101Study, split: Kind) -> np.ndarray:
    """Return the weights of questions whose mean product with O_acc is WOSA."""
    puzzles = [row.puzzle for row in _questions(config, split)]
    counts = Counter(each.row.puzzle for each in puzzles)
    total = sum({each.row.puzzle: each.difficulty for each in puzzles}.values())
    return np.array([each.difficulty * len(puzzles) / (counts[each.row.puzzle] * total) for each in puzzles])
