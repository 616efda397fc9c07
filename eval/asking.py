"""Ask one question of a benchmark, its options shuffled, and score what comes back.

The graph gets the question as a model may see it. Truth is read here to score, and for the `oracle` strategies, which put the
truth in one part's place to see what that part loses: captions, core frames, or frames and evidence; for `ranked`, the reference
alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import numpy as np

from agents.ask import aask
from agents.run import Run
from espresso import media
from espresso.cache import Cache, CaptionKey, SamplingKey
from espresso.errors import DataError, EspressoError, ServerDownError
from espresso.media import Media
from espresso.models import Roles
from espresso.profiles import Profile
from espresso.schema import Answer, Frame, Question, Truth
from eval.benches import Bench
from eval.metrics import Sample, Scores, score
from eval.ranking import ranked

Strategy = Literal["selector", "uniform", "all", "blind", "ranked", "oracle", "oracle-captions", "oracle-evidence"]
"""How core frames are found: as in `agents.state.Strategy`; by the odds of the reference (`eval.ranking`); from the truth
(`oracle`), with the true evidence as well, or by the selector from true captions."""


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
        """Ask and score; whatever goes wrong with this question becomes its sample's error, so that a long run goes on.

        Raises ServerDownError, which is no question's fault.
        """
        order, answer, scores, error = shuffled(question, self.seed), None, Scores(correct=False), None
        try:
            answer = await self._answer(question, order)
            scores = score(question, answer, self.bench.facts(question, answer), self._captions(question, answer))
        except ServerDownError:
            raise
        except EspressoError as known:
            error = str(known)
        except Exception as unknown:
            error = f"{type(unknown).__name__}: {unknown}"
        return Sample(id=question.id, question=question, order=order, answer=answer, scores=scores, error=error)

    def _captions(self, question: Question, answer: Answer) -> Iterator[bool]:
        """Whether each caption says what is truly seen, word for word, where that is known."""
        for caption in answer.captions:
            true = self.bench.caption(question.visuals[caption.frame.visual], caption.frame.time)
            if true is not None:
                yield caption.text == true

    async def _answer(self, question: Question, order: Sequence[int]) -> Answer:
        clips = [await media.in_background(media.open, visual) for visual in question.visuals]
        asked = question.asked()
        if asked.options:
            asked = asked.model_copy(update={"options": tuple(asked.options[position] for position in order)})
        means: dict[str, Any] = {"options": asked.options, "profile": self.profile, "roles": self.roles}
        if self.strategy == "ranked":
            means["cache"] = self.cache
            captions = (await aask(clips, asked.text, **means)).captions
            run = Run(self.profile, roles=self.roles, clips=clips)
            frames = await ranked(asked, question.answer or "", captions, run)
            answer = await aask(clips, asked.text, strategy="given", core_frames=frames, **means)
            answer = answer.model_copy(update={"captions": captions})
        else:
            answer = await aask(clips, asked.text, **means, **self._parts(question, clips))
        return answer.model_copy(update={"question": asked, "strategy": self.strategy})

    def _parts(self, question: Question, clips: Sequence[Media]) -> dict[str, Any]:
        """How frames, captions and evidence are come by. Raises DataError where the truth is asked for and not known."""
        match self.strategy:
            case "oracle-captions":
                return {"strategy": "selector", "cache": TrueCaptions(self.bench, question, clips)}
            case "oracle":
                return {"strategy": "given", "core_frames": _true_frames(question, clips), "cache": self.cache}
            case "oracle-evidence":
                frames = _true_frames(question, clips)
                return {"strategy": "given", "core_frames": frames, "evidence": _truth(question).evidence, "cache": self.cache}
            case strategy:
                return {"strategy": strategy, "cache": self.cache}


class TrueCaptions(Cache):
    """A cache in which every frame of a question's visuals has been captioned already, by the truth."""

    def __init__(self, bench: Bench, question: Question, clips: Sequence[Media]) -> None:
        self.trouble = self._store = None
        self._bench = bench
        self._clips = {clip.visual.digest: (source, clip) for source, clip in zip(question.visuals, clips, strict=True)}

    def captions(self, keys: Sequence[CaptionKey]) -> dict[CaptionKey, str]:
        """What is truly seen. Raises DataError where that is not known."""
        return {key: self._true(*self._clips[key.digest], key.frame) for key in keys}

    def _true(self, source: str, clip: Media, frame: int) -> str:
        true = self._bench.caption(source, float(clip.times[frame]))
        if true is None:
            raise DataError(f"{source}: what its frames show is not known. Use another strategy than oracle-captions.")
        return true

    def sampling(self, key: SamplingKey) -> None:
        """Keep nothing of it."""

    def keep_sampling(self, key: SamplingKey, sampling: object) -> None:
        """Keep nothing of it."""


def load_models(models: Roles, strategy: Strategy) -> None:
    """Load the models that a strategy needs, before anything else is waited for. Raises ModelError."""
    selects = strategy in ("selector", "oracle-captions")
    for model in (models.reasoner, *((models.captioner, models.selector) if selects else ())):
        _ = model.context_length


def shuffled(question: Question, seed: int) -> tuple[int, ...]:
    """Draw the order in which to show the options, as their positions: the same whenever seed and question are the same."""
    number = int.from_bytes(sha256(question.id.encode()).digest()[:8])
    return tuple(np.random.default_rng([seed, number]).permutation(len(question.options or ())).tolist())


def _true_frames(question: Question, clips: Sequence[Media]) -> list[Frame]:
    """For each true span the frame nearest to its middle."""
    frames = []
    for span in _truth(question).spans:
        times = clips[span.visual].times
        index = int(np.abs(times - (span.start + span.end) / 2).argmin())
        frames.append(Frame(visual=span.visual, index=index, time=float(times[index])))
    return frames


def _truth(question: Question) -> Truth:
    if question.truth is None:
        raise DataError(f"question {question.id}: what is true of it is not known. Use another strategy than oracle.")
    return question.truth
