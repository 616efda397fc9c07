"""Answer the question from its core frames and evidence (VideoEspresso, section 4: stage 2 of the reasoner).

With options the reply is one of their letters or texts (`Profile.choose`), scored by log-probability; without, it is free text.
"""

from __future__ import annotations

from math import exp

from agents.answer.context import Run
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import fitted, step
from espresso.schema import letter

MAX_TOKENS = 128


async def reply(state: AnswerState, run: Run) -> AnswerUpdate:
    """Fill `text`, `choice`, `confidence` and `options_probability`. Raises MediaError or ModelError."""
    reasoner, adapter = run.roles.reasoner, run.roles.adapters.get("answer")
    options = {letter(index): text for index, text in enumerate(state.question.options or ())}
    by_text = run.settings.choose == "texts"
    replies = {text if by_text else letter: letter for letter, text in options.items()}
    shown, prompt, thinned = fitted(
        "answer",
        await run.show([core.frame for core in state.core_frames]),
        reasoner,
        listed_as="frames",
        style=run.settings.prompts,
        max_tokens=MAX_TOKENS,
        question=state.question.text,
        evidence=state.evidence,
        options=[] if by_text else [{"letter": letter, "text": text} for letter, text in options.items()],
    )
    said = await reasoner.chat(prompt.messages, choices=list(replies) or None, adapter=adapter, max_tokens=MAX_TOKENS)
    choice = replies.get(said.text)
    return AnswerUpdate(
        text=options[choice] if choice else said.text.strip(),
        choice=choice,
        confidence=None if said.confidence is None else min(said.confidence, 1.0),
        options_probability={letter: exp(said.logprobs[reply]) for reply, letter in replies.items() if reply in said.logprobs},
        trace=step("answer", [said], model=reasoner, prompt=prompt.hash, frames=len(shown), notes=[thinned]),
    )
