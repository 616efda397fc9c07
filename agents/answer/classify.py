"""Classify a statement about two visuals with the profile's classifier (RAIV, section 3.2).

With the options "True" and "False", the classifier reads the statement; with other options, it
reads the text with each option after it, and the option with the highest score is the answer. There
is no evidence.
"""

from __future__ import annotations

import math

from agents.answer.context import AnswerContext
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import make_step
from espresso.datasets.raiv.statements import with_reason
from espresso.errors import QuestionError
from espresso.schema import letter

TRUE, FALSE = "true", "false"


async def classify(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Fill `text`, `choice`, `confidence` and `options_probability`.

    Raises:
        MediaError: a visual cannot be decoded.
        ModelError: the classifier cannot be loaded.
        QuestionError: the question has not two visuals, or no options.
    """
    classifier, options = context.session.roles.classifier, state.question.options
    assert classifier is not None, "checked before the graph runs"
    if len(context.visuals) != 2 or not options:
        raise QuestionError(
            f"the strategy 'classifier' compares two visuals and chooses an option; {len(context.visuals)} visuals and "
            f"{len(options or ())} options are given. Give two visuals and the options True and False."
        )
    visuals = []
    for position in range(2):
        shown = await context.show([frame for frame in state.frames if frame.visual == position])
        visuals.append([each.picture.pixels for each in shown])
    names = [option.lower() for option in options]
    if sorted(names) == [FALSE, TRUE]:
        (logit,) = (await classifier.true_logits(visuals, [state.question.text])).tolist()
        logits = [logit if name == TRUE else 0.0 for name in names]
    else:
        texts = [with_reason(state.question.text, option) for option in options]
        logits = (await classifier.true_logits(visuals, texts)).tolist()
    highest = max(logits)
    weights = [math.exp(logit - highest) for logit in logits]
    chosen = logits.index(highest)
    probabilities = {letter(number): weight / sum(weights) for number, weight in enumerate(weights)}
    return AnswerUpdate(
        text=options[chosen],
        choice=letter(chosen),
        confidence=None if state.warning else probabilities[letter(chosen)],
        options_probability={} if state.warning else probabilities,
        trace=make_step("classify", model=classifier, frames=len(state.frames)),
    )
