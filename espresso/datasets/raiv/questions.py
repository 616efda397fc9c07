"""RAIV as a dataset of questions: whether a statement about two visuals is true.

Without files, the pairs are those of the procedural world, im-im, im-vid and vid-vid in turn; their
visuals are rendered into the cache folder when they are first needed. With `--data FILE`, they are
those of a file that `espresso raiv build` or `espresso raiv write` wrote, of the requested split.
Accuracy is reported by the paper's datasets (Table 2) and by what a template tests; consistency is
the share of statements that are judged correctly for both of their pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import cast

from espresso.datasets.base import DatasetFiles, FileDataset, LoadedExamples, LoadedQuestions
from espresso.datasets.raiv import world
from espresso.datasets.raiv.media import PairFolder, name_of, render
from espresso.datasets.raiv.pairs import RaivPair, build_split
from espresso.datasets.raiv.situations import Situation, Split
from espresso.datasets.raiv.statements import KINDS, Kind
from espresso.datasets.rows import BadRow, RawRow, read_rows
from espresso.schema import Question

OPTIONS = ("True", "False")

WORLD_PAIRS = 3000
"""Pairs of each kind in all splits of the world together: 600 in test, 300 in val."""


@dataclass(frozen=True)
class PairDataset:
    """Questions about pairs, of a file or of the world."""

    name: str

    question: Callable[[RaivPair], Question]
    """Converts a pair, with visuals as `name_of` names them."""

    only_reasons: bool = False
    """Whether pairs without reasons are left out."""

    splits: tuple[str, ...] = ("test", "val")

    needs_files: bool = False

    def load(
        self, split: str, limit: int | None, files: DatasetFiles | None = None, on_clip: Callable[[int, int], None] | None = None
    ) -> LoadedQuestions:
        """See `espresso.datasets.Dataset.load`."""
        if files:
            dataset = self._rows_of(cast(Split, split))
            _render(dataset, files, limit, on_clip)
            return dataset.load(split, limit, files)
        kept = [[pair for pair in world_pairs(kind, cast(Split, split)) if self._keeps(pair.reasons)] for kind in KINDS]
        questions = [self.question(pair) for pair in islice(in_turn(kept), limit)]
        paths = render(chain.from_iterable(question.visuals for question in questions), on_clip)
        return LoadedQuestions(
            [question.model_copy(update={"visuals": tuple(map(paths.__getitem__, question.visuals))}) for question in questions]
        )

    def examples(
        self, files: DatasetFiles, *, limit: int | None = None, uniform: int | None = None, evidence: bool = True
    ) -> LoadedExamples:
        """Load training examples: the pairs of the split train. See `FileDataset.examples`."""
        dataset = self._rows_of("train")
        _render(dataset, files, limit)
        return dataset.examples(files, limit=limit, uniform=uniform, evidence=evidence)

    def _rows_of(self, split: Split) -> FileDataset:
        """Return the dataset of the rows of a split."""

        def read_file(path: Path, bad: list[BadRow]) -> Iterator[tuple[str, RawRow]]:
            for where, row in read_rows(path, bad):
                if row.get("split") == split and self._keeps(row.get("reasons")):
                    yield where, row

        return FileDataset(self.name, partial(_read, self.question), read_file, folder=PairFolder)

    def _keeps(self, reasons: object) -> bool:
        return bool(reasons) or not self.only_reasons


def world_pairs(kind: Kind, split: Split) -> Iterator[RaivPair]:
    """Yield the pairs of the world that `espresso raiv build --kind KIND --count 3000` builds."""
    return build_split(kind, _situations(split), split, WORLD_PAIRS, 0)


@cache
def _situations(split: Split) -> list[Situation]:
    return world.read(("image", "video"), {split: world.stories_for(WORLD_PAIRS)[split]}).situations


def in_turn(kinds: Sequence[Sequence[RaivPair]]) -> Iterator[RaivPair]:
    """Yield one pair of each kind in turn, in the order of each kind, but labels in turn too.

    Of the first three pairs, the second is false and the others are true; the next three are their
    counterparts. So the first questions have all kinds and both labels.
    """
    swapped = [list(pairs) for pairs in kinds]
    for pairs in swapped[1::2]:
        pairs[0:-1:2], pairs[1::2] = pairs[1::2], pairs[0:-1:2]
    for number in range(max(map(len, kinds))):
        yield from (pairs[number] for pairs in swapped if number < len(pairs))


def statement_question(pair: RaivPair) -> Question:
    """Return the question whether the statement of a pair is true. Raises ValueError."""
    return Question(
        id=pair.id,
        visuals=tuple(map(name_of, pair.visuals)),
        text=pair.statement,
        options=OPTIONS,
        task=pair.dataset,
        answer=str(pair.label),
        group=f"{pair.split} {pair.kind}: {pair.statement}",
        categories=(pair.family,) if pair.family else (),
    )


def _read(question: Callable[[RaivPair], Question], row: RawRow) -> Question:
    return question(RaivPair.model_validate(row))


def _render(
    dataset: FileDataset, files: DatasetFiles, limit: int | None, on_clip: Callable[[int, int], None] | None = None
) -> None:
    """Render the visuals of the world in parallel; `PairFolder` then finds them in the cache."""
    questions = islice(dataset.read_questions(files.data, []), limit)
    render(chain.from_iterable(question.visuals for _, question in questions), on_clip)


DATASET = PairDataset("raiv", statement_question)
