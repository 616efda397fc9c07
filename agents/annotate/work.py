"""Annotate one video, with the checkpoints of its graph in a SQLite file of the work folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

import prompts
from agents.annotate.graph import replies, state
from agents.annotate.graph.build import build
from agents.annotate.graph.context import AnnotateContext
from agents.annotate.graph.state import AnnotateState
from agents.annotate.records import VideoAnnotation, assemble
from agents.session import Session
from espresso import schema
from espresso.errors import MediaError, ModelError, QuestionError, ServerDownError
from espresso.media import Media
from espresso.models.zero_shot import ObjectDetector
from espresso.schema import Record

TASKS_AT_ONCE = 64
"""Nodes of one video that run at the same time."""
TEMPLATES = ("caption", "answer", *(f"annotate/{name}" for name in ("write", "filter", "evidence", "distract", "ground")))


class AnnotateConfig(Record):
    """What identifies a dataset: if any of it changes, the rows do not belong together."""

    profile: dict[str, Any]
    """The profile as JSON."""

    models: dict[str, str]
    """Role -> name, with a fingerprint of local weights."""

    prompts: dict[str, str]
    """Template -> hash."""

    sampling: str
    """The sampling plan."""

    questions: int
    """Most questions about one group of scenes."""

    distractors: bool
    """Whether questions have options."""


def make_config(session: Session, sampling: str | None, questions: int, distractors: bool) -> AnnotateConfig:
    """Return what identifies a dataset that is constructed with these settings."""
    roles, profile = session.roles, session.profile
    named = {name: getattr(roles, name) for name in ("captioner", "writer", "reasoner", "embedder", "detector", "verifier")}
    return AnnotateConfig(
        profile=profile.model_dump(mode="json"),
        models={name: model.name for name, model in named.items() if model},
        prompts={name: prompts.digest(name, style=profile.prompts) for name in TEMPLATES},
        sampling=sampling or profile.sampling,
        questions=questions,
        distractors=distractors,
    )


class Work:
    """Annotates single videos; each keeps the checkpoints of its graph in a file of its own.

    Args:
        session: the session.
        config: the settings.
        folder: the work folder.
        allow_out_of_domain: whether to annotate videos that the profile's models do not know.
    """

    def __init__(self, session: Session, config: AnnotateConfig, folder: Path, *, allow_out_of_domain: bool = False) -> None:
        self.session, self.config, self.folder = session, config, folder
        self.allow_out_of_domain = allow_out_of_domain

    async def annotate_video(self, source: str, video: Media) -> VideoAnnotation:
        """Annotate a video, or continue where an earlier process was interrupted.

        A video that cannot be annotated gives a result with an error. Raises ServerDownError and
        BudgetExceededError.
        """
        context = AnnotateContext(
            session=self.session,
            video=video,
            sampling=self.config.sampling,
            questions=self.config.questions,
            distractors=self.config.distractors,
            allow_out_of_domain=self.allow_out_of_domain,
        )
        thread: Any = {
            "configurable": {"thread_id": video.visual.digest},
            "max_concurrency": TASKS_AT_ONCE,
            "recursion_limit": 50,
        }
        try:
            async with _checkpoints(self.folder / f"{video.visual.digest[:32]}.sqlite") as saver:
                graph = build().compile(checkpointer=saver)
                started = await graph.aget_state(thread)
                begin = None if started.values else AnnotateState(source=source)
                values = await graph.ainvoke(begin, thread, context=context, durability="sync")
        except ServerDownError:
            raise
        except (MediaError, ModelError, QuestionError) as error:
            return VideoAnnotation(id=video.visual.digest, source=source, visual=video.visual, error=str(error))
        return assemble(AnnotateState.model_validate(values)).at(source)


@asynccontextmanager
async def _checkpoints(file: Path) -> AsyncIterator[AsyncSqliteSaver]:
    """Open the checkpoints of a video.

    When a node fails, LangGraph cancels writes of others that have finished. They are committed
    here, or their replies would be lost, and none may start any more: a transaction that is open
    when the connection closes keeps the file locked.
    """
    connection = await aiosqlite.connect(file)
    saver = AsyncSqliteSaver(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=_RECORDS))
    try:
        yield saver
    finally:
        async with saver.lock:
            await connection.commit()
            await connection.close()


async def load_models(session: Session, *, distractors: bool) -> None:
    """Load every model that construction needs, so that an error appears before the first reply.

    Raises:
        ModelError: a model cannot be loaded or reached.
        ProfileError: the embedder needs an API key that is not set.
    """
    roles = session.roles
    for model in (roles.captioner, roles.writer, roles.reasoner if distractors else None, roles.detector):
        if isinstance(model, ObjectDetector):
            await model.load()
        elif model:
            await asyncio.to_thread(getattr, model, "context_length")  # loads a local model
    if roles.embedder:
        await roles.embedder.load()
    if roles.verifier:
        await roles.verifier.load()


_RECORDS = [
    value
    for module in (state, replies, schema)
    for value in vars(module).values()
    if isinstance(value, type) and value.__module__ == module.__name__
]
"""The types that a checkpoint may contain; no other is loaded from the file."""


def forget(folder: Path, result: VideoAnnotation) -> None:
    """Remove the checkpoints of a video whose result is logged."""
    for ending in ("", "-wal", "-shm"):
        (folder / f"{result.id[:32]}.sqlite{ending}").unlink(missing_ok=True)
