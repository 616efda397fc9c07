"""Load the training examples of a configuration's data sources from `espresso.datasets`."""

from __future__ import annotations

from espresso.datasets import DatasetFiles, FileDataset, LoadedExamples, get_dataset
from espresso.datasets.raiv.examples import world_examples
from espresso.datasets.raiv.questions import PairDataset
from espresso.datasets.smart101 import examples as puzzles
from espresso.datasets.videoespresso import DATASET as VIDEOESPRESSO
from espresso.datasets.world import DATASET as WORLD
from finetune.lora.config import DataSource, Puzzles, VideoEspresso, World, WorldPairs


def load(source: DataSource, seed: int = 0, needed: int | None = None, *, evidence: bool = True) -> LoadedExamples:
    """Load the examples of one data source.

    Args:
        source: the data source.
        seed: seed of frame times in the world.
        needed: number of examples that suffice, the first ones; None is all.
        evidence: whether evidence is required: rows without it are bad rows.

    Raises:
        DataError: the files are missing or unreadable, or contain no row to train on.
    """
    match source:
        case World():
            return WORLD.examples(
                source.split,
                min(source.count, needed or source.count),
                seed=seed,
                first=source.first,
                spare=source.spare,
                missing=source.missing,
                uniform=source.uniform,
                tasks=source.tasks,
            )
        case WorldPairs():
            count = min(source.count, needed or source.count)
            return world_examples(source.split, count, kinds=source.kinds, reasons=source.reasons, seed=seed, first=source.first)
        case Puzzles():
            most = min(filter(None, (source.count, needed)), default=None)
            return puzzles.examples(source.split, most, folder=source.path, evidence=evidence, only=source.puzzles)
        case VideoEspresso():
            files = DatasetFiles(source.path, source.root)
            return VIDEOESPRESSO.examples(files, limit=needed, uniform=source.uniform, evidence=evidence, rate=source.rate)
        case _:
            dataset = get_dataset(source.format)
            assert isinstance(dataset, FileDataset | PairDataset)
            files = DatasetFiles(source.path, source.videos)
            return dataset.examples(files, limit=needed, uniform=source.uniform, evidence=evidence)
