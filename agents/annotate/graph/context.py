"""The context of one video: the session, the opened video and the settings of the run."""

from __future__ import annotations

from dataclasses import dataclass

from agents.answer.context import AnswerContext
from agents.session import Session
from espresso.media import Media


@dataclass(init=False)
class AnnotateContext(AnswerContext):
    """The runtime context of the construction graph.

    Args:
        profile: as in `AnswerContext`: what LangGraph's own server passes instead of a session.
        session: the session.
        video: the opened video; None opens it by the path in the state.
        sampling: the sampling plan; None is the profile's own.
        questions: most questions about one group of scenes.
        distractors: whether to write wrong options and to check that the video is needed.
        allow_out_of_domain: whether to annotate videos that the profile's models do not know.
    """

    sampling: str | None = None
    questions: int = 3
    distractors: bool = True
    allow_out_of_domain: bool = False

    def __init__(
        self,
        profile: str | None = None,
        *,
        session: Session | None = None,
        video: Media | None = None,
        sampling: str | None = None,
        questions: int = 3,
        distractors: bool = True,
        allow_out_of_domain: bool = False,
    ) -> None:
        super().__init__(profile, session=session, visuals=[video] if video else [])
        self.sampling = sampling
        self.questions = questions
        self.distractors = distractors
        self.allow_out_of_domain = allow_out_of_domain
