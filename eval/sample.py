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

from agents.answer.context import Run
from agents.answer.sample import UNIFORM_FRAMES
from agents.ask import aask
from espresso import media
from espresso.cache import Cache, CaptionKey, Kept, SamplingKey
from espresso.datasets import Bench
from espresso.errors import DataError, EspressoError, ServerDownError
from espresso.media import Media
from espresso.models import Roles
from espresso.profiles import Profile
from espresso.schema import Answer, Frame, Question, Truth
from eval import protocols
from eval.frame_ranking import ranked
from eval.metrics import Sample, Scores, score
from eval.protocols import Protocol

Strategy = Literal["selector", "uniform", "random", "all", "blind", "ranked", "oracle", "oracle-captions", "oracle-evidence"]
"""How core frames are found: as in `agents.answer.state.Strategy`; at `random`; by the odds of the reference (`eval.frame_ranking`); from the
truth (`oracle`), with the true evidence as well, or by the selector from true captions."""


@dataclass(frozen=True)
class Asking:
    """With what, and how, questions are asked.

    seed: of the order of options, and of random frames. frames: how many `uniform` and `random` take, or the most that the
    selector may choose; None is the profile's number, 16 for the two. given: whether the evidence that the benchmark comes with
    is answered from, in place of the reasoner's own.
    """

    bench: Bench
    profile: Profile
    roles: Roles
    strategy: Strategy
    seed: int
    cache: Cache
    frames: int | None = None
    protocol: Protocol = "choice"
    given: bool = False

    async def sample(self, question: Question) -> Sample:
        """Ask and score; whatever goes wrong with this question becomes its sample's error, so that a long run goes on.

        Raises ServerDownError, which is no question's fault.
        """
        order, answer, scores, error = shuffled(question, self.seed), None, Scores(correct=False), None
        try:
            options = tuple(question.options[position] for position in order) if question.options else ()
            answer = await self._answer(question, options)
            scores = await self._scores(question, answer, options)
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

    async def _scores(self, question: Question, answer: Answer, options: Sequence[str]) -> Scores:
        """Score an answer, whatever way its options were put. options: as they were shown."""
        chosen: str | None = answer.text
        by_authors = None
        if options and self.protocol == "written":
            chosen = protocols.strict(answer.text, options)
            by_authors = protocols.official(answer.text, options) == question.answer
        elif options and self.protocol == "open" and self.roles.embedder:
            chosen = await protocols.nearest(answer.text, options, self.roles.embedder)
        facts, captions = self.bench.facts(question, answer), self._captions(question, answer)
        return score(question, answer, chosen, facts, captions, by_authors)

    async def _answer(self, question: Question, options: tuple[str, ...]) -> Answer:
        clips = [await media.in_background(media.open, visual) for visual in question.visuals]
        asked = protocols.asked(question.asked().model_copy(update={"options": options or None}), self.protocol)
        means: dict[str, Any] = {"options": asked.options, "profile": self.profile, "roles": self.roles}
        means |= self._evidence(question)
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
        """How frames and captions are come by. Raises DataError where the truth is asked for and not known."""
        match self.strategy:
            case "oracle-captions":
                true = TrueCaptions(self.bench, question, clips)
                return {"strategy": "selector", "frames": self.frames, "cache": true}
            case "oracle" | "oracle-evidence":
                return {"strategy": "given", "core_frames": _true_frames(question, clips), "cache": self.cache}
            case "random":
                return {"strategy": "given", "core_frames": self._drawn(question, clips), "cache": self.cache}
            case strategy:
                return {"strategy": strategy, "frames": self.frames, "cache": self.cache}

    def _evidence(self, question: Question) -> dict[str, Any]:
        """The evidence that is known, where it is to be answered from. Raises DataError where none is."""
        if not self.given and self.strategy != "oracle-evidence":
            return {}
        known = question.truth.evidence.strip() if question.truth else ""
        if not known:
            raise DataError(f"question {question.id}: no evidence comes with it. Ask without given evidence.")
        return {"evidence": known}

    def _drawn(self, question: Question, clips: Sequence[Media]) -> list[Frame]:
        """Frames at random, the same for a question each time."""
        every = [(visual, index) for visual, clip in enumerate(clips) for index in range(len(clip.times))]
        drawn = _draws(question, self.seed).choice(len(every), min(self.frames or UNIFORM_FRAMES, len(every)), replace=False)
        return [_frame(clips, *every[place]) for place in sorted(drawn.tolist())]


class TrueCaptions(Cache):
    """A cache in which every frame of a question's visuals has been captioned already, by the truth."""

    def __init__(self, bench: Bench, question: Question, clips: Sequence[Media]) -> None:
        self.trouble = self._store = None
        self._bench = bench
        self._clips = {clip.visual.digest: (source, clip) for source, clip in zip(question.visuals, clips, strict=True)}

    def captions(self, keys: Sequence[CaptionKey]) -> dict[CaptionKey, Kept]:
        """What is truly seen, at no cost. Raises DataError where that is not known."""
        return {key: Kept(self._true(*self._clips[key.digest], key.frame)) for key in keys}

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
    return tuple(_draws(question, seed).permutation(len(question.options or ())).tolist())


def _draws(question: Question, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, int.from_bytes(sha256(question.id.encode()).digest()[:8])])


def _frame(clips: Sequence[Media], visual: int, index: int) -> Frame:
    return Frame(visual=visual, index=index, time=float(clips[visual].times[index]))


def _true_frames(question: Question, clips: Sequence[Media]) -> list[Frame]:
    """For each true span the frame nearest to its middle."""
    frames = []
    for span in _truth(question).spans:
        index = int(np.abs(clips[span.visual].times - (span.start + span.end) / 2).argmin())
        frames.append(_frame(clips, span.visual, index))
    return frames


def _truth(question: Question) -> Truth:
    if question.truth is None or not question.truth.spans:
        raise DataError(f"question {question.id}: what is true of it is not known. Use another strategy than oracle.")
    return question.truth
