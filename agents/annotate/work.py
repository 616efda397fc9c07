"""Annotate one video, with the checkpoints of its graph in a SQLite file of the work folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
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
from espresso.errors import MediaError, QuestionError
from espresso.media import Media
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

        A video that cannot be annotated gives a result with an error. Raises ModelError,
        ServerDownError and BudgetExceededError.
        """
        context = AnnotateContext(
            self.session,
            video,
            sampling=self.config.sampling,
            questions=self.config.questions,
            distractors=self.config.distractors,
            allow_out_of_domain=self.allow_out_of_domain,
        )
        file = self.folder / f"{video.visual.digest[:32]}.sqlite"
        thread: RunnableConfig = {
            "configurable": {"thread_id": video.visual.digest},
            "max_concurrency": TASKS_AT_ONCE,
            "recursion_limit": 50,
        }
        try:
            async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
                saver.serde = JsonPlusSerializer(allowed_msgpack_modules=_RECORDS)
                graph = build().compile(checkpointer=saver)
                started = await graph.aget_state(thread)
                begin = None if started.values else AnnotateState(source=source)
                values = await graph.ainvoke(begin, thread, context=context, durability="sync")
            result = assemble(AnnotateState.model_validate(values)).model_copy(update={"source": source})
        except (MediaError, QuestionError) as error:
            result = VideoAnnotation(id=video.visual.digest, source=source, visual=video.visual, error=str(error))
        return result


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
