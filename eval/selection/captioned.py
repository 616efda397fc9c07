"""The world's test questions with captions of sampled frames, for `eval.selection.measure`."""

from __future__ import annotations

from collections.abc import Callable

from agents.answer.caption import caption_frames
from agents.answer.context import AnswerContext
from agents.answer.sample import sample_visual
from agents.session import Session
from espresso import media
from espresso.datasets import world
from espresso.datasets.nextqa.nextgqa import CaptionedQuestion
from espresso.schema import Question


async def world_questions(
    session: Session, limit: int | None, on_progress: Callable[[str, int, int], None]
) -> list[CaptionedQuestion]:
    """Render clips of the test split, and caption their frames with the profile's captioner.

    Args:
        session: the session whose captioner and sampling plan are used; captions are cached.
        limit: number of questions, the first ones; None is all.
        on_progress: called with what is done, the number of finished items and of all.
    """
    questions = world.questions("test", limit, lambda done, total: on_progress("rendering clips", done, total))
    captioned = []
    for done, question in enumerate(questions):
        on_progress("captioning", done, len(questions))
        captioned.append(await _captioned(question, session))
    return captioned


async def _captioned(question: Question, session: Session) -> CaptionedQuestion:
    assert question.truth, "the world knows its core frames"
    context = AnswerContext(session=session)
    await context.open(question.visuals)
    frames, _ = await sample_visual(0, media.parse_plan(session.profile.sampling), context)
    captions = (await caption_frames(frames, context)).captions
    return CaptionedQuestion(
        id=question.id,
        video=question.visuals[0],
        kind=str(question.task or ""),
        question=question.text,
        options=question.options or (),
        times=tuple(each.frame.time for each in captions),
        captions=tuple(each.text for each in captions),
        spans=tuple(
            tuple(position for position, each in enumerate(captions) if span.holds(each.frame)) for span in question.truth.spans
        ),
    )
