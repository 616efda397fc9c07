"""Answer the question from its core frames and evidence (VideoEspresso, section 4: stage 2 of the reasoner).

With options the reply is one of their letters, scored by log-probability; without, it is free text.
"""

from __future__ import annotations

from math import exp

from agents.run import Run
from agents.state import AnswerState, AnswerUpdate
from agents.steps import fitted, step
from espresso.schema import letter

MAX_TOKENS = 128


async def reply(state: AnswerState, run: Run) -> AnswerUpdate:
    """Fill `text`, `choice`, `confidence` and `options_probability`. Raises MediaError or ModelError."""
    reasoner, adapter = run.roles.reasoner, run.roles.adapters.get("answer")
    options = {letter(index): text for index, text in enumerate(state.question.options or ())}
    shown, prompt, thinned = fitted(
        "answer",
        await run.show([core.frame for core in state.core_frames]),
        reasoner,
        listed_as="frames",
        style=run.settings.prompts,
        max_tokens=MAX_TOKENS,
        question=state.question.text,
        evidence=state.evidence,
        options=[{"letter": letter, "text": text} for letter, text in options.items()],
    )
    said = await reasoner.chat(prompt.messages, choices=list(options) or None, adapter=adapter, max_tokens=MAX_TOKENS)
    untold = "the model tells no probabilities, so the confidence is unknown and given as 0" if said.confidence is None else None
    return AnswerUpdate(
        text=options[said.text] if options else said.text.strip(),
        choice=said.text if options else None,
        confidence=min(said.confidence or 0.0, 1.0),
        options_probability={letter: exp(said.logprobs[letter]) for letter in options if letter in said.logprobs},
        trace=step("answer", [said], model=reasoner, prompt=prompt.hash, frames=len(shown), notes=[thinned, untold]),
    )
