"""Answer with the profile's classifier. There is no evidence.

A classifier of pairs (RAIV, section 3.2) reads two visuals. With the options "True" and "False", it
reads the statement; with other options, it reads the text with each option after it, and the option
with the highest score is the answer. A classifier of puzzles (SMART-101) reads one picture and the
question, and scores the options.
"""

from __future__ import annotations

import math

import numpy as np

from agents.answer.context import AnswerContext
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import make_step
from espresso.datasets.raiv.statements import with_reason
from espresso.errors import QuestionError
from espresso.fusion.classifier import FusionClassifier
from espresso.schema import letter

TRUE, FALSE = "true", "false"

NEEDS = {
    1: "answers a question about one image by choosing an option; {}. Give one image and the options.",
    2: "compares two visuals and chooses an option; {}. Give two visuals and the options True and False.",
}
"""Visuals that a classifier reads -> what the strategy needs."""


async def classify(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Fill `text`, `choice`, `confidence` and `options_probability`.

    Raises:
        MediaError: a visual cannot be decoded.
        ModelError: the classifier cannot be loaded.
        QuestionError: the question has not the visuals that the classifier reads, or no options.
    """
    classifier, options = context.session.roles.classifier, state.question.options
    assert classifier is not None, "checked before the graph runs"
    wanted = (await classifier.load()).visuals
    if len(context.visuals) != wanted or not options:
        given = f"{len(context.visuals)} visuals and {len(options or ())} options are given"
        raise QuestionError(f"the strategy 'classifier' {NEEDS[wanted].format(given)}")
    visuals = list[list[np.ndarray]]()
    for position in range(wanted):
        shown = await context.show([frame for frame in state.frames if frame.visual == position])
        visuals.append([each.picture.pixels for each in shown])
    if wanted == 1:
        logits = (await classifier.option_logits(visuals[0][0], state.question.text, options)).tolist()
    else:
        logits = await _judge(classifier, visuals, state.question.text, options)
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


async def _judge(
    classifier: FusionClassifier, visuals: list[list[np.ndarray]], text: str, options: tuple[str, ...]
) -> list[float]:
    """Return the logits of the options of a question about two visuals."""
    names = [option.lower() for option in options]
    if sorted(names) == [FALSE, TRUE]:
        (logit,) = (await classifier.true_logits(visuals, [text])).tolist()
        return [logit if name == TRUE else 0.0 for name in names]
    logits: list[float] = (await classifier.true_logits(visuals, [with_reason(text, option) for option in options])).tolist()
    return logits
