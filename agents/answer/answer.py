"""Answer the question from its core frames and evidence (VideoEspresso, section 4, stage 2).

A question with options is answered by one of their letters or texts (`Profile.choose`), scored by
log-probability; a written choice and an open question by free text.
"""

from __future__ import annotations

from math import exp

from agents.answer.context import AnswerContext
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import fit_prompt, make_step
from espresso.models.chat import usable_text
from espresso.schema import letter

MAX_TOKENS = 128


async def answer(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Fill `text`, `choice`, `confidence` and `options_probability`.

    Raises MediaError, or ModelError if the reply is empty, cut off, refused or filtered.

    An answer with a warning gets no confidence: the probabilities of a model mean nothing outside
    its domain.
    """
    roles, profile = context.session.roles, context.session.profile
    options = {letter(index): text for index, text in enumerate(state.question.options or ())}
    by_text = profile.choose == "texts"
    letters = {} if state.written else {text if by_text else letter: letter for letter, text in options.items()}
    shown, prompt, note = await fit_prompt(
        "written" if state.written and options else "answer",
        await context.show([core.frame for core in state.core_frames]),
        roles.reasoner,
        listed_as="frames",
        style=profile.prompts,
        max_tokens=MAX_TOKENS,
        question=state.question.text,
        evidence=state.evidence,
        options=[{"letter": letter, "text": text} for letter, text in options.items() if state.written or not by_text],
    )
    reply = await roles.reasoner.chat(
        prompt.messages, choices=list(letters) or None, adapter=roles.adapters.get("answer"), max_tokens=MAX_TOKENS
    )
    text = usable_text(reply, roles.reasoner, "answer")
    choice = letters.get(reply.text)
    probabilities = {letter: exp(reply.logprobs[name]) for name, letter in letters.items() if name in reply.logprobs}
    return AnswerUpdate(
        text=options[choice] if choice else text,
        choice=choice,
        confidence=None if state.warning or reply.confidence is None else min(reply.confidence, 1.0),
        options_probability={} if state.warning else probabilities,
        trace=make_step("answer", [reply], model=roles.reasoner, prompt=prompt.hash, frames=len(shown), notes=[note]),
    )
