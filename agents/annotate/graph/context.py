"""The context of one video: the session, the opened video and the settings of the run."""

from __future__ import annotations

from agents.answer.context import AnswerContext
from agents.session import Session
from espresso.media import Media


class AnnotateContext(AnswerContext):
    """The runtime context of the construction graph.

    Args:
        session: the session.
        video: the opened video.
        sampling: the sampling plan.
        questions: most questions about one group of scenes.
        distractors: whether to write wrong options and to check that the video is needed.
        allow_out_of_domain: whether to annotate videos that the profile's models do not know.
    """

    def __init__(
        self,
        session: Session,
        video: Media,
        *,
        sampling: str,
        questions: int,
        distractors: bool,
        allow_out_of_domain: bool,
    ) -> None:
        super().__init__(session=session, visuals=[video])
        self.sampling = sampling
        self.questions = questions
        self.distractors = distractors
        self.allow_out_of_domain = allow_out_of_domain
