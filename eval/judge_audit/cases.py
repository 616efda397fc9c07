"""The cases of an audit: answers of known quality to questions of the world.

Questions come from stories alone. No clip is rendered, because the reference holds the ground
truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from agents.judge import Judge, JudgeResult
from espresso.schema import Question
from espresso.world import Split, questions_of, story
from eval.judge_audit.perturb import AnswerVariant, inject, make_variants

PRECEDING_QUESTIONS = 20
"""Number of preceding questions whose answers are candidates for an off-topic answer."""


@dataclass(frozen=True)
class JudgeCase:
    """One answer for the judge to score."""

    question: Question
    """The question, with its reference answer."""

    variant: AnswerVariant
    """The answer and the scores it deserves."""

    result: JudgeResult | None = None
    """The judge's scores; None before it was asked."""

    @property
    def overall(self) -> float | None:
        """The judge's overall score, 1 to 10; None if the answer is unscored."""
        return self.result.verdict.overall if self.result and self.result.verdict else None

    @property
    def cluster(self) -> tuple[str, ...]:
        """The clip of the question: cases about one clip are not independent."""
        return self.question.visuals

    async def score_with(self, judge: Judge) -> JudgeCase:
        """Return the case with the judge's scores.

        Raises:
            ServerDownError: the judge's server does not answer.
        """
        question, reference = self.question.text, str(self.question.answer)
        return replace(self, result=await judge.score(question, reference, self.variant.answer))


def make_cases(count: int, *, split: Split = "test", seed: int = 0) -> list[JudgeCase]:
    """Return all variants of `count` questions of a split, after the first `PRECEDING_QUESTIONS`.

    Each question's reference and one wrong answer also come with injections. The same arguments
    give the same cases.
    """
    rng = np.random.default_rng(seed)
    questions = list(_questions(split, count + PRECEDING_QUESTIONS))
    cases = list[JudgeCase]()
    for index, question in enumerate(questions[PRECEDING_QUESTIONS:], PRECEDING_QUESTIONS):
        other_answers = [str(other.answer) for other in questions[index - PRECEDING_QUESTIONS : index]]
        variants = make_variants(question, other_answers, rng, split)
        wrong = next(variant for variant in variants if variant.kind in ("wrong option", "wrong order"))
        injected = [*inject(variants[0], rng, split), *inject(wrong, rng, split)]
        cases += [JudgeCase(question, variant) for variant in [*variants, *injected]]
    return cases


def _questions(split: Split, count: int) -> Iterator[Question]:
    """Yield `count` questions of a split, story by story."""
    index, remaining = 0, count
    while remaining > 0:
        questions = questions_of(story(split, index), f"{split}-{index}")[:remaining]
        yield from questions
        index, remaining = index + 1, remaining - len(questions)


def by_question(cases: Sequence[JudgeCase]) -> list[list[JudgeCase]]:
    """Group the cases by question; both orders are kept."""
    return [list(group) for _, group in groupby(cases, key=lambda case: case.question.id)]


def correct_cases(cases: Sequence[JudgeCase]) -> list[JudgeCase]:
    """Return the correct answers without injection: each reference and its paraphrase."""
    return [case for case in cases if not case.variant.grade and not case.variant.injection]
