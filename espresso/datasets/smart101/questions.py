"""SMART-101 as a dataset of questions: the task of each is its skill, its weight the difficulty.

Without files, the puzzles are generated, and drawn into the cache folder when they are first
needed. With `--data FOLDER`, they are those of the published layout. Questions alternate between
the puzzles, so that a limit keeps all of them. Generated ones have the true evidence, for scoring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from espresso.datasets.base import DatasetFiles, LoadedQuestions
from espresso.datasets.smart101 import data
from espresso.datasets.smart101.data import PuzzleQuestion
from espresso.datasets.smart101.evidence import evidence_of
from espresso.datasets.smart101.puzzles import instance
from espresso.datasets.smart101.rows import PuzzleRow
from espresso.schema import Question, Truth


@dataclass(frozen=True)
class Smart101:
    """The dataset."""

    name: str = "smart101"

    splits: tuple[str, ...] = data.SPLITS

    needs_files: bool = False

    def load(
        self, split: str, limit: int | None, files: DatasetFiles | None = None, on_clip: Callable[[int, int], None] | None = None
    ) -> LoadedQuestions:
        """See `espresso.datasets.Dataset.load`."""
        found = data.read(files.data, split, limit, files.videos) if files else data.generate(split, limit, on_clip)
        questions = [_question(each, generated=files is None) for each in found.rows]
        return LoadedQuestions(questions, found.bad, found.missing, found.notes)


def _question(puzzle: PuzzleQuestion, *, generated: bool) -> Question:
    row = puzzle.row
    return Question(
        id=row.id,
        visuals=(str(puzzle.image),),
        text=row.question,
        options=row.options,
        task=puzzle.skill,
        answer=row.options[row.answer],
        weight=puzzle.difficulty,
        truth=_truth(row) if generated else None,
    )


def _truth(row: PuzzleRow) -> Truth:
    return Truth(spans=(), facts=(), evidence=evidence_of(row.question, instance(row.puzzle, row.number).facts))


DATASET = Smart101()
