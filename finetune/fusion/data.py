"""Load the data of a stage: situations to describe or to mine pairs from, and pairs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from espresso.datasets.raiv import edited, files, pairs, read_pairs, world
from espresso.datasets.raiv.pairs import RaivPair
from espresso.datasets.raiv.situations import Situation, VisualReference
from espresso.datasets.videos import VideoFolder
from finetune.fusion import captions
from finetune.fusion.config import PairFile, Pairs, Situations, WorldEdits, WorldSituations

logger = logging.getLogger(__name__)


def load_situations(sources: Sequence[Situations]) -> list[Situation]:
    """Return the situations of all sources, those of one file next to each other.

    Visuals that are not found are left out, with a warning.

    Raises:
        DataError: a file cannot be read, or the parser is not installed.
    """
    found = list[Situation]()
    for source in sources:
        if isinstance(source, WorldSituations):
            found += world.read(("image", "video"), {"train": source.stories}, first=source.first).situations
            continue
        folder = _Media(source.media)
        for situation in captions.load(source.path, source.parser):
            if (visual := folder.locate(situation.visual)) is not None:
                found.append(replace(situation, visual=visual))
        folder.report()
    return found


def load_pairs(sources: Sequence[Pairs], seed: int) -> list[RaivPair]:
    """Return the training pairs of all sources, the true and the false one of a statement in turn.

    Pairs with a visual that is not found are left out, with a warning.

    Raises:
        DataError: a file cannot be read.
    """
    return [pair for source in sources for pair in _pairs(source, seed)]


def _pairs(source: Pairs, seed: int) -> Iterator[RaivPair]:
    if isinstance(source, PairFile):
        folder = _Media(source.media)
        for pair in read_pairs(source.path):
            first, second = (folder.locate(visual) for visual in pair.visuals)
            if pair.split == "train" and first and second:
                yield pair.model_copy(update={"visuals": (first, second)})
        folder.report()
        return
    total = round(source.count / 0.7)  # as many as `espresso raiv build` makes for such a train split
    if isinstance(source, WorldEdits):
        yield from edited.build_split(files.load_world_edits(total, "train").edits, "train", source.count, seed)
        return
    built = pairs.build(source.kind, files.load_world(source.kind, total).situations, total, seed, common=1.0)
    yield from (pair for pair in built.pairs if pair.split == "train")


class _Media:
    """Finds visuals in a folder, and counts those that are not there."""

    def __init__(self, path: Path | None) -> None:
        self.folder = VideoFolder(path) if path else None
        self.missing = dict[str, None]()

    def locate(self, visual: VisualReference) -> VisualReference | None:
        """Return the visual with its path, or None if it is not found."""
        if self.folder is None or visual.path.startswith("world:"):
            return visual
        found = self.folder.find(visual.path)
        if found is None:
            self.missing[visual.path] = None
            return None
        return visual.model_copy(update={"path": str(found)})

    def report(self) -> None:
        """Warn about missing visuals."""
        if self.missing and self.folder:
            first = next(iter(self.missing))
            logger.warning("%s: %s visuals were not found, among them %s.", self.folder.path, len(self.missing), first)
