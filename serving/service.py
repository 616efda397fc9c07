"""Answer and judge with the sessions of the models that a server offers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

from pydantic import Field

from agents.answer.graph import NodeStarted
from agents.answer.state import AnswerState
from agents.ask import aask
from agents.batch import SharedCaptions
from agents.judge import Judge, JudgeResult
from agents.session import Session
from espresso import media
from espresso.errors import ProfileError, QuestionError
from espresso.media import Media
from espresso.options import JUDGE_SAMPLES, Strategy
from espresso.schema import Answer, Caption, Record
from serving.admission import Places
from serving.errors import UnknownModelError
from serving.metrics import Metrics
from serving.settings import Settings
from serving.sources import Sources
from serving.uploads import Uploads

SEPARATOR = "/"
"""Between the profile and the strategy in the name of a model."""


class AskRequest(Record):
    """A question about images and videos."""

    model: str
    """A profile, or a profile and a strategy ("tiny/uniform")."""

    visuals: tuple[str, ...]
    """Ids of uploads, data URLs, paths in the server's folders, or URLs of its hosts.

    A segment selects a part of a video: `#t=4,6`.
    """

    text: str
    """The question."""

    options: tuple[str, ...] | None = None
    """Two or more different texts to choose from; None for a free answer."""

    frames: int | None = None
    """Most core frames to select, or the number of frames of `uniform`."""

    core_frames: tuple[float, ...] | None = None
    """Times in seconds of the core frames in the first visual, instead of selected ones."""

    evidence: str = ""
    """What to answer from, instead of evidence that the reasoner writes."""

    reference: str | None = None
    """The correct answer, for a verdict of the profile's judge."""

    allow_out_of_domain: bool = False
    """Whether to answer, with a warning, about visuals that the profile's models do not know."""

    boxes: bool = False
    """Whether to locate the things that the evidence names; the profile needs a detector."""


class JudgeRequest(Record):
    """An answer to score against a reference."""

    model: str
    """A profile with a judge."""

    question: str

    reference: str
    """The correct answer."""

    answer: str
    """The answer to score."""

    samples: int = Field(default=JUDGE_SAMPLES, ge=1, le=15)
    """Replies of the judge; their median counts."""

    seed: int = 0
    """Seed of the first reply."""


def _strategies(session: Session) -> list[Strategy]:
    """Return the strategies that the name of a model can have; core frames mean `given`."""
    missing = {"given"} if session.roles.classifier else {"given", "classifier"}
    return [each for each in get_args(Strategy) if each not in missing]


MAX_CHARACTERS = 20_000
"""Longest question, reference and answer of a JudgeRequest together."""


class Service:
    """The sessions of a server, its uploads, places and metrics.

    Args:
        settings: the settings of the server.

    Raises:
        ProfileError: a profile does not exist, is invalid, or two have the same name.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.sessions: dict[str, Session] = {}
        for source in settings.profiles:
            name = Path(source).stem if source.endswith(".toml") else source
            if name in self.sessions:
                raise ProfileError(f"two profiles are named {name!r}. Rename the file of one of them.")
            self.sessions[name] = Session(source, cache=settings.cache)
        self.places = Places(settings.at_once, settings.waiting)
        self.uploads = Uploads(settings.limits, settings.uploads_bytes)
        self.sources = Sources(settings, self.uploads)
        self.metrics = Metrics(self.places)
        self.loaded = False
        self._captions = SharedCaptions()

    @property
    def ready(self) -> bool:
        """Whether all models are loaded and the server does not stop."""
        return self.loaded and not self.places.stopped

    def models(self) -> list[str]:
        """Return the names of all models."""
        return [
            name
            for profile, session in self.sessions.items()
            for name in (profile, *(profile + SEPARATOR + each for each in _strategies(session)))
        ]

    def find(self, model: str) -> tuple[Session, Strategy]:
        """Return the session and the strategy of a model. Raises UnknownModelError."""
        if session := self.sessions.get(model):
            return session, session.profile.strategy
        profile, _, strategy = model.rpartition(SEPARATOR)
        if session := self.sessions.get(profile):
            for known in _strategies(session):
                if strategy == known:
                    return session, known
        raise UnknownModelError(f"unknown model {model[:80]!r}. The models are {', '.join(self.models())}.")

    async def load(self) -> None:
        """Load the models that answer questions.

        Raises:
            ModelError: a model cannot be loaded.
        """
        for session in self.sessions.values():
            for model in (session.roles.captioner, session.roles.selector, session.roles.reasoner):
                await asyncio.to_thread(getattr, model, "context_length")  # loads a model of this process
            if session.roles.classifier:
                await session.roles.classifier.load()
        self.loaded = True

    async def open(self, visuals: Sequence[str]) -> list[Media]:
        """Open what a request names.

        Raises:
            MediaError: an image or video cannot be opened, or is not allowed.
            QuestionError: there are too many.
        """
        if len(visuals) > self.settings.visuals:
            raise QuestionError(f"{len(visuals)} images and videos are given. Give at most {self.settings.visuals}.")
        return [await media.in_background(self.sources.open, visual) for visual in visuals]

    async def ask(
        self,
        request: AskRequest,
        on_progress: Callable[[NodeStarted], None] | None = None,
        on_state: Callable[[AnswerState], None] | None = None,
        on_captions: Callable[[tuple[Caption, ...]], None] | None = None,
    ) -> Answer:
        """Answer a question.

        Args:
            request: the question.
            on_progress: called when a node of the answer graph starts.
            on_state: called with the state of the graph after each node.
            on_captions: called with captions as they are made.

        Raises:
            EspressoError: as `agents.ask.aask`, and UnknownModelError.
        """
        session, strategy = self.find(request.model)
        visuals = await self.open(request.visuals)
        return await self.answer(request, session, strategy, visuals, on_progress, on_state, on_captions)

    async def answer(
        self,
        request: AskRequest,
        session: Session,
        strategy: Strategy,
        visuals: Sequence[Media],
        on_progress: Callable[[NodeStarted], None] | None = None,
        on_state: Callable[[AnswerState], None] | None = None,
        on_captions: Callable[[tuple[Caption, ...]], None] | None = None,
    ) -> Answer:
        """Answer a question whose visuals are open, see `ask`."""
        digests = await media.in_background(lambda: tuple(visual.digest for visual in visuals))
        async with self._captions.turn((session.profile.name, digests)) as on_node:

            def report(node: NodeStarted) -> None:
                on_node(node)
                if on_progress:
                    on_progress(node)

            answer = await aask(
                visuals,
                request.text,
                options=request.options,
                session=session,
                strategy="given" if request.core_frames is not None else strategy,
                frames=request.frames,
                core_frames=request.core_frames,
                evidence=request.evidence,
                reference=request.reference,
                allow_out_of_domain=request.allow_out_of_domain,
                boxes=request.boxes,
                on_progress=report,
                on_state=on_state,
                on_captions=on_captions,
            )
        self.metrics.count(request.model, answer)
        return answer

    async def judge(self, request: JudgeRequest) -> JudgeResult:
        """Score an answer against its reference.

        Raises:
            ProfileError: the profile has no judge.
            QuestionError: a text is empty, or they are too long.
            UnknownModelError: no such model is offered.
            ServerDownError: the judge's server does not answer.
        """
        session, _ = self.find(request.model)
        texts = (request.question, request.reference, request.answer)
        if not all(text.strip() for text in texts):
            raise QuestionError("the question, the reference or the answer is empty. Give all three.")
        if sum(map(len, texts)) > MAX_CHARACTERS:
            raise QuestionError(f"question, reference and answer are too long. Shorten them to {MAX_CHARACTERS} characters.")
        judge = Judge.from_session(session, samples=request.samples, seed=request.seed)
        return await judge.score(*texts)

    @asynccontextmanager
    async def running(self, load: Callable[[], Any] | None) -> AsyncIterator[None]:
        """Run as long as an application does: start to load the models, and close at the end.

        Args:
            load: starts to load the models; None loads each when it is first asked.
        """
        loading = load() if load else None  # a reference, or the task could be collected
        yield
        del loading
        await self.close()

    async def close(self) -> None:
        """Close all connections, free the models and delete the uploads."""
        for session in self.sessions.values():
            await session.roles.disconnect()
            session.close()
        self.uploads.close()
