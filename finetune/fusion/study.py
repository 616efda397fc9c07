"""RAIV's Tables 2, 3, 5 and 6 for the procedural world: `espresso eval study raiv CONFIG`.

One model is pre-trained, and gets task-specific pre-training (TSP) in several ways. From each, and
from random weights, a classifier is fine-tuned on each dataset with several seeds and answers the
test questions of `espresso eval run raiv` and `raiv-reasons`. Classifiers that do not see both
visuals measure what the rest of a pair gives away. LVLM pipelines answer the same questions.

Each classifier has a folder, with its answers in `correct.json`; its weights are deleted when it
has answered. The same command resumes, and a second process that runs it shares the work
(`studies`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from filelock import FileLock

from agents.raiv_write import write_statements
from espresso.datasets.raiv import build, edited, files, read_pairs
from espresso.datasets.raiv.pairs import RaivPair
from espresso.datasets.raiv.questions import WORLD_PAIRS, world_pairs
from espresso.datasets.raiv.statements import KINDS, Kind
from espresso.fusion.config import Fusion, FusionConfig
from espresso.fusion.model import pair_model
from espresso.fusion.processor import FusionProcessor
from finetune.frames import frame_reader
from finetune.fusion.config import PairFile, Pairs, PairsConfig, RaivStudy, Side, WorldEdits, WorldPairs
from finetune.fusion.rows import RowCollator, hidden_sides, reasons, statements
from finetune.fusion.studies import (
    Estimate,
    Progress,
    StudyRow,
    answered,
    claim,
    estimate,
    once,
    pipeline_answers,
    share_work,
    train_stage,
    write,
)
from finetune.fusion.train import Stage

Start = Literal["none", "pretrain", "tsp-images", "tsp", "tsp-random"]
"""What a classifier starts from: random weights, pre-training, or TSP with images, with images and
videos, or with pairs of random visuals."""

Dataset = Literal["im-im", "im-vid", "vid-vid", "im-im-g", "im-vid-g", "vid-vid-g", "edits"]
WRITTEN: dict[Dataset, Kind] = {"im-im-g": "im-im", "im-vid-g": "im-vid", "vid-vid-g": "vid-vid"}
"""Datasets with statements of a model, "G" in the paper -> kind of their pairs."""

UNRELATED = ("output", "seeds", "shares", "pipelines", "save_every", "workers", "threads")
"""Keys of a configuration that may change when a study goes on."""

BATCH = 100
"""Rows that are classified at once."""

FUSIONS: tuple[Fusion, ...] = ("early", "mid", "late")


@dataclass(frozen=True)
class Setting:
    """A classifier but for its seed."""

    start: Start

    dataset: Dataset

    reasons: bool = False
    """Whether it chooses reasons; else it judges statements."""

    fusion: Fusion = "late"

    share: float = 1.0
    """Share of the training pairs."""

    hidden: tuple[Side, ...] = ()
    """Visuals that it does not see, in training and test."""

    times: int = 1
    """How many times the training pairs of the configuration it has."""

    def name(self, seed: int) -> str:
        """Return the name of the folder of a seed."""
        parts = [self.start, self.dataset, "reasons" if self.reasons else "", self.fusion if self.fusion != "late" else ""]
        parts += [f"{self.share:g}" if self.share < 1 else "", f"times{self.times}" if self.times > 1 else ""]
        parts += [*(f"no-{side}" for side in self.hidden), f"seed{seed}"]
        return "-".join(filter(None, parts))


TABLE_2: tuple[Start, ...] = ("none", "pretrain", "tsp-images", "tsp")
"""The rows of classifiers in Tables 2 and 3."""
NAMES: dict[Start, str] = {
    "none": "no pre-training", "pretrain": "pre-training", "tsp-images": "+ TSP, images",
    "tsp": "+ TSP, images and videos", "tsp-random": "+ TSP, random pairs",
}  # fmt: skip
"""Names of the rows."""
MORE = 8
"""Times the training pairs of a further row of Table 2, without TSP. TSP takes more steps than the
fine-tuning, on pairs of its own; this row shows how much of its gain further pairs give as well."""
MORE_PAIRS = f"pre-training, {MORE} times the pairs"
HIDDEN: dict[tuple[Side, ...], str] = {
    ("first", "second"): "statement alone", ("second",): "statement and first visual", ("first",): "statement and second visual",
}  # fmt: skip
"""Visuals that are hidden -> name of the row."""

STATEMENTS, REASONS, EDITS, MINING = (
    "Table 2: statements", "Table 3: reasons", "Table 5: edited images", "Table 6: how pairs are mined",
)  # fmt: skip
DIFFERENCES = (
    (STATEMENTS, NAMES["tsp"], NAMES["pretrain"]), (STATEMENTS, NAMES["tsp"], MORE_PAIRS),
    (REASONS, NAMES["tsp"], NAMES["pretrain"]),
    *((EDITS, f"{fusion} + TSP", fusion) for fusion in FUSIONS), (MINING, NAMES["tsp"], NAMES["tsp-random"]),
)  # fmt: skip
"""Table, and two of its rows whose paired difference is a further row."""


Cell = tuple[str, str, str, Setting]
"""Table, row, column and classifier."""


def cells_of(config: RaivStudy) -> Iterator[Cell]:
    """Yield the cells of all tables."""
    written: tuple[Dataset, ...] = tuple(WRITTEN) if config.writer else ()
    datasets: tuple[Dataset, ...] = (*KINDS, *written, "edits")
    for start in TABLE_2:
        for dataset in datasets:
            yield STATEMENTS, NAMES[start], dataset, Setting(start, dataset)
    further = {MORE_PAIRS: Setting("pretrain", "im-im", times=MORE)}
    further |= {name: Setting("tsp", "im-im", hidden=hidden) for hidden, name in HIDDEN.items()}
    for name, setting in further.items():
        for kind in KINDS:
            yield STATEMENTS, name, kind, replace(setting, dataset=kind)
    for start in TABLE_2:
        for kind in KINDS:
            yield REASONS, NAMES[start], kind, Setting(start, kind, reasons=True)
    for fusion in FUSIONS:
        starts: tuple[Start, ...] = ("pretrain", "tsp-images")
        for start in starts:
            for share in config.shares:
                row = f"{fusion}{' + TSP' if start == 'tsp-images' else ''}"
                yield EDITS, row, f"{share:.0%}", Setting(start, "edits", fusion=fusion, share=share)
    starts = ("tsp-random", "tsp")
    for start in starts:
        for kind in KINDS:
            for reasons_too in (False, True):
                column = f"{kind}{', reasons' if reasons_too else ''}"
                yield MINING, NAMES[start], column, Setting(start, kind, reasons=reasons_too)


def run_study(config: RaivStudy, on_progress: Progress) -> list[StudyRow]:
    """Train and measure all classifiers; write `study.md` and `study.json` to the output folder.

    Args:
        config: what the trainings have in common; its output is the folder of the study.
        on_progress: called before each training.

    Returns:
        The rows of the tables, in order.

    Raises:
        DataError: a result cannot be written, or a training of another configuration is there.
    """
    cells = list(cells_of(config))
    classifiers = list(dict.fromkeys(setting for *_, setting in cells))
    trainings = [(setting, seed) for seed in config.seeds for setting in classifiers]
    claim(config, UNRELATED)
    share_work(
        config.output,
        trainings,
        lambda each, wait: _correct(config, *each, wait=wait),
        lambda each: each[0].name(each[1]),
        on_progress,
    )
    correct = {each: np.array([_correct(config, each, seed, wait=True) for seed in config.seeds], float) for each in classifiers}
    rows = [*_rows(config, cells, correct), *_pipelines(config)]
    write(config.output, rows)
    return rows


def _correct(config: RaivStudy, setting: Setting, seed: int, *, wait: bool) -> list[bool] | None:
    """Return which test questions a classifier answers correctly; train it if it has not answered.

    Returns None if another process trains it, or what it starts from, and this one is not to wait.
    """
    folder = config.output / setting.name(seed)

    def make() -> list[bool]:
        return _answer(_fine_tune(config, setting, seed, folder, wait=wait), config, setting)

    return answered(folder, "pairs", make, wait=wait)


def _fine_tune(config: RaivStudy, setting: Setting, seed: int, folder: Path, *, wait: bool) -> Path:
    """Fine-tune a classifier; return the folder of the model. Raises Timeout, see `once`."""
    data: Pairs
    if setting.dataset == "edits":
        data = WorldEdits(format="world-edits", count=config.edits)
    elif setting.dataset in WRITTEN:
        data = PairFile(format="pairs", path=_written(config, WRITTEN[setting.dataset]))
    else:
        data = WorldPairs(format="world", kind=cast(Kind, setting.dataset), count=setting.times * config.count)
    pairs = PairsConfig(
        **dict(config.fine_tuning) | {"start": _start(config, setting.start, setting.fusion, wait=wait)},
        data=(data,),
        reasons=setting.reasons,
        share=setting.share,
        hidden=setting.hidden,
    )
    return _train(config, "pairs", folder, setting.fusion, pairs=pairs, seed=seed)


def _written(config: RaivStudy, kind: Kind) -> Path:
    """Return the file of pairs with statements of the writer; write it if it is not there."""
    folder = config.output / "written"
    file, built = folder / f"{kind}.jsonl", folder / f"{kind}-templates.jsonl"
    folder.mkdir(exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        if not file.is_file():
            situations = files.load_world(kind, WORLD_PAIRS).situations
            files.write(built, build(kind, situations, WORLD_PAIRS, 0, common=1.0).pairs, replace=True)
            write_statements(built, file, profile=config.writer)
    return file


def _start(config: RaivStudy, start: Start, fusion: Fusion, *, wait: bool) -> Path | None:
    """Return the model that a classifier starts from; train it if it is not there. See `once`."""
    if start == "none":
        return None
    pretrained = config.output / "pretrain"
    if start == "pretrain":
        return once(pretrained, lambda: _train(config, "pretrain", pretrained, "late", pretrain=config.pretrain), wait=wait)
    tsp = config.tsp.model_copy(
        update={
            "start": _start(config, "pretrain", "late", wait=wait),
            "kinds": ("im-im",) if start == "tsp-images" else config.tsp.kinds,
            "mining": "random" if start == "tsp-random" else "conditioned",
        }
    )
    folder = config.output / (start if fusion == "late" else f"{start}-{fusion}")
    return once(folder, lambda: _train(config, "tsp", folder, fusion, tsp=tsp), wait=wait)


def _train(config: RaivStudy, stage: Stage, folder: Path, fusion: Fusion, **changes: Any) -> Path:
    """Train a stage with the study's settings into a folder; return the folder of the model."""
    return train_stage(config, stage, folder, architecture=config.architecture.model_copy(update={"fusion": fusion}), **changes)


def _answer(folder: Path, config: RaivStudy, setting: Setting) -> list[bool]:
    """Return which test questions the classifier of a folder answers correctly."""
    model: Any = pair_model(FusionConfig.from_pretrained(folder))
    model = model.from_pretrained(folder).eval()
    reader = frame_reader(config.architecture.frames, config.frame_size)
    collate = RowCollator(FusionProcessor.from_pretrained(folder), reader, hidden_sides(setting.hidden))
    pairs = _questions(config, setting)
    rows = (reasons if setting.reasons else statements)(pairs)
    logits = list[float]()
    for first in range(0, len(rows), BATCH):
        batch = collate(rows[first : first + BATCH])
        del batch["labels"]
        with torch.inference_mode():
            logits += model(**batch).logits.tolist()
    if setting.reasons:
        return [int(np.argmax(three)) == pair.reason for pair, three in zip(pairs, np.reshape(logits, (-1, 3)), strict=True)]
    return [(logit > 0) == pair.label for pair, logit in zip(pairs, logits, strict=True)]


def _questions(config: RaivStudy, setting: Setting) -> list[RaivPair]:
    """Return the test pairs of a classifier."""
    file = _written(config, WRITTEN[setting.dataset]) if setting.dataset in WRITTEN else None
    return [pair for pair in _test_pairs(setting.dataset, file) if pair.reasons or not setting.reasons]


@cache
def _test_pairs(dataset: Dataset, file: Path | None) -> list[RaivPair]:
    if file:
        return [pair for pair in read_pairs(file) if pair.split == "test"]
    if dataset == "edits":
        return list(edited.build_split(files.load_world_edits(WORLD_PAIRS, "test").edits, "test", WORLD_PAIRS // 5, 0))
    return list(world_pairs(cast(Kind, dataset), "test"))


def _rows(config: RaivStudy, cells: Sequence[Cell], correct: Mapping[Setting, np.ndarray]) -> Iterator[StudyRow]:
    """Yield the rows of the tables; `correct` has arrays of (seeds, questions)."""
    found = defaultdict[tuple[str, str], dict[str, Setting]](dict)
    for table, row, column, setting in cells:
        found[table, row][column] = setting
    for table in dict.fromkeys(table for table, _ in found):
        for (own, name), columns in found.items():
            if own == table:
                yield StudyRow(
                    table=table,
                    name=name,
                    cells={column: _estimate(_questions(config, each), correct[each]) for column, each in columns.items()},
                )
        for own, ours, theirs in DIFFERENCES:
            if own == table:
                pairs = {column: (found[table, ours][column], found[table, theirs][column]) for column in found[table, theirs]}
                estimates = {
                    column: _estimate(_questions(config, one), correct[one] - correct[two], difference=True)
                    for column, (one, two) in pairs.items()
                }
                yield StudyRow(table=table, name=f"{ours} minus {theirs}", cells=estimates)


def _pipelines(config: RaivStudy) -> Iterator[StudyRow]:
    """Run the LVLM pipelines of the profiles on the same questions, each in a folder of its own."""
    for profile in config.pipelines:
        for table, dataset in ((STATEMENTS, "raiv"), (REASONS, "raiv-reasons")):
            right = pipeline_answers(config.output, profile, dataset, "test")
            cells = dict[str, Estimate]()
            for kind in KINDS:
                pairs = _questions(config, Setting("none", kind, reasons=table == REASONS))
                cells[kind] = _estimate(pairs, np.array([[right[pair.id] for pair in pairs]], float))
            yield StudyRow(table=table, name=f"LVLM pipeline, {Path(profile).stem}", cells=cells)


def _estimate(pairs: Sequence[RaivPair], values: np.ndarray, *, difference: bool = False) -> Estimate:
    files_of = [{visual.path for visual in pair.visuals} for pair in pairs]
    return estimate(values, [pair.statement for pair in pairs], files_of, difference=difference)
