"""What a judge is tried on: answers of the world's test split whose worth is known, and what it said of each.

Questions are made from stories alone; no clip is rendered, since the reference says what is true. Wordings are the test split's,
which no training showed (`eval.judge_audit.wordings`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from agents.judge import Judge, Judged
from espresso.schema import Question
from espresso.world import Split, questions_of, story
from eval.judge_audit import perturb as corruption
from eval.judge_audit.perturb import Version

FOREIGN = 20
"""So many questions before it lend a question their answers, to be off topic with."""


@dataclass(frozen=True)
class Trial:
    """One answer put to the judge. judged: what it said; None before it is asked."""

    question: Question
    version: Version
    judged: Judged | None = None

    @property
    def overall(self) -> float | None:
        """The judge's overall score, 1 to 10; None where it gave none."""
        return self.judged.verdict.overall if self.judged and self.judged.verdict else None

    @property
    def clip(self) -> tuple[str, ...]:
        """What its question is about: questions about one clip are not independent."""
        return self.question.visuals

    async def put(self, judge: Judge) -> Trial:
        """Ask the judge. Raises ServerDownError."""
        question, reference = self.question.text, str(self.question.answer)
        return replace(self, judged=await judge.score(question, reference, self.version.answer))


def trials(count: int, *, split: Split = "test", seed: int = 0) -> list[Trial]:
    """All versions of the first `count` questions of a split, and of each a right and a wrong one with injections."""
    rng = np.random.default_rng(seed)
    asked = list(_questions(split, count + FOREIGN))
    found = list[Trial]()
    for place, question in enumerate(asked[FOREIGN:], FOREIGN):
        foreign = [str(other.answer) for other in asked[place - FOREIGN : place]]
        versions = corruption.versions(question, foreign, rng, split)
        wrong = next(version for version in versions if version.kind in ("wrong option", "wrong order"))
        injected = [*corruption.injected(versions[0], rng, split), *corruption.injected(wrong, rng, split)]
        found += [Trial(question, version) for version in [*versions, *injected]]
    return found


def _questions(split: Split, count: int) -> Iterator[Question]:
    index, left = 0, count
    while left > 0:
        told = story(split, index)
        made = questions_of(told, f"{split}-{index}")[:left]
        yield from made
        index, left = index + 1, left - len(made)


def by_question(tried: Sequence[Trial]) -> list[list[Trial]]:
    """The trials of each question, in their order."""
    return [list(group) for _, group in groupby(tried, key=lambda trial: trial.question.id)]


def rights(tried: Sequence[Trial]) -> list[Trial]:
    """Those that are right and say nothing to the judge."""
    return [trial for trial in tried if not trial.version.grade and not trial.version.injection]
