"""One sample of a run: a question, the solver's answer and the scorer's scores."""

from __future__ import annotations

import logging
import traceback

from agents.session import Session
from espresso.errors import EspressoError, ServerDownError
from espresso.log import LogEntry
from espresso.schema import Answer, Question
from eval.protocols import apply_protocol, option_order
from eval.scorers import Scores
from eval.task import EvalTask

logger = logging.getLogger(__name__)


class Sample(LogEntry):
    """One line of `samples.jsonl`: a question and its answer, scored; `id` is the question's."""

    question: Question
    """The question with reference and ground truth, its options in their original order."""

    order: tuple[int, ...]
    """Positions of the options in the order in which they were shown."""

    answer: Answer | None = None
    """The answer, its letters in the order shown; None if there was an error."""

    scores: Scores = Scores(correct=False)

    error: str | None = None
    """Why there is no answer, in one sentence."""

    traceback: str | None = None
    """The traceback of an unexpected error."""

    elapsed: float = 0.0
    """Seconds since the run's previous sample was done; they add up to the run's time."""


async def run_sample(question: Question, task: EvalTask, session: Session) -> Sample:
    """Ask and score one question; an error is recorded in the sample, so that a long run continues.

    Args:
        question: the question with reference and ground truth.
        task: what is done with it.
        session: the models that are asked.

    Raises:
        ServerDownError: the server does not answer, which is not the question's fault.
    """
    order, answer = option_order(question, task.seed), None
    options = tuple(question.options[position] for position in order) if question.options else None
    shown = question.model_copy(update={"options": options})
    try:
        answer = await task.solver(apply_protocol(shown, task.protocol), session)
        answer = answer.model_copy(update={"strategy": task.strategy})
        scores = await task.scorer(shown, answer)
    except ServerDownError:
        raise
    except EspressoError as error:
        return Sample(id=question.id, question=question, order=order, answer=answer, error=str(error))
    except Exception as error:
        logger.exception("question %s failed", question.id)
        return Sample(
            id=question.id,
            question=question,
            order=order,
            answer=answer,
            error=f"{type(error).__name__}: {error}",
            traceback=traceback.format_exc(),
        )
    return Sample(id=question.id, question=question, order=order, answer=answer, scores=scores)
