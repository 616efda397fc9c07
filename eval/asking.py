"""Ask one question of a benchmark, its options shuffled, and score what comes back.

The graph gets the question as a model may see it. Truth is read here to score, and for the `oracle` strategy, which hands the
true core frames to the reasoner to see what a perfect selector would be worth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np

from agents.ask import aask
from espresso import media
from espresso.cache import Cache
from espresso.errors import DataError, EspressoError
from espresso.media import Media
from espresso.models import Roles
from espresso.profiles import Profile
from espresso.schema import Answer, Frame, Question
from eval.benches import Bench
from eval.metrics import Sample, Scores, score

Strategy = Literal["selector", "uniform", "all", "blind", "oracle"]
"""How core frames are found: as in `agents.state.Strategy`, or taken from the truth."""


@dataclass(frozen=True)
class Asking:
    """With what, and how, questions are asked. seed: of the order of options."""

    bench: Bench
    profile: Profile
    roles: Roles
    strategy: Strategy
    seed: int
    cache: Cache

    async def sample(self, question: Question) -> Sample:
        """Ask and score; whatever goes wrong with this question becomes its sample's error, so that a long run goes on."""
        order, answer, scores, error = shuffled(question, self.seed), None, Scores(correct=False), None
        try:
            answer = await self._answer(question, order)
            scores = score(question, answer, self.bench.facts(question, answer))
        except EspressoError as known:
            error = str(known)
        except Exception as unknown:
            error = f"{type(unknown).__name__}: {unknown}"
        return Sample(id=question.id, question=question, order=order, answer=answer, scores=scores, error=error)

    async def _answer(self, question: Question, order: Sequence[int]) -> Answer:
        clips = [await asyncio.to_thread(media.open, visual) for visual in question.visuals]
        asked = question.asked()
        if asked.options:
            asked = asked.model_copy(update={"options": tuple(asked.options[position] for position in order)})
        answer = await aask(
            clips,
            asked.text,
            options=asked.options,
            profile=self.profile,
            strategy="given" if self.strategy == "oracle" else self.strategy,
            core_frames=_true_frames(question, clips) if self.strategy == "oracle" else None,
            roles=self.roles,
            cache=self.cache,
        )
        return answer.model_copy(update={"question": asked, "strategy": self.strategy})


def shuffled(question: Question, seed: int) -> tuple[int, ...]:
    """Draw the order in which to show the options, as their positions: the same whenever seed and question are the same."""
    number = int.from_bytes(sha256(question.id.encode()).digest()[:8])
    return tuple(np.random.default_rng([seed, number]).permutation(len(question.options or ())).tolist())


def _true_frames(question: Question, clips: Sequence[Media]) -> list[Frame]:
    """For each true span the frame nearest to its middle. Raises DataError where no truth is known."""
    if question.truth is None:
        raise DataError(f"question {question.id}: its core frames are not known. Use another strategy than oracle.")
    frames = []
    for span in question.truth.spans:
        times = clips[span.visual].times
        index = int(np.abs(times - (span.start + span.end) / 2).argmin())
        frames.append(Frame(visual=span.visual, index=index, time=float(times[index])))
    return frames
