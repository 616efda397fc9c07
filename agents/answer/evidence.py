"""Say what the core frames show that bears on the question (VideoEspresso, section 4: stage 1 of the reasoner)."""

from __future__ import annotations

from agents.answer.context import Run
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import fitted, step

MAX_TOKENS = 256


async def evidence(state: AnswerState, run: Run) -> AnswerUpdate:
    """Fill `evidence` from `core_frames`. Raises MediaError or ModelError."""
    reasoner = run.roles.reasoner
    shown, prompt, thinned = fitted(
        "evidence",
        await run.show([core.frame for core in state.core_frames]),
        reasoner,
        listed_as="frames",
        style=run.settings.prompts,
        max_tokens=MAX_TOKENS,
        question=state.question.text,
    )
    reply = await reasoner.chat(prompt.messages, adapter=run.roles.adapters.get("evidence"), max_tokens=MAX_TOKENS)
    return AnswerUpdate(
        evidence=reply.text.strip(),
        trace=step("evidence", [reply], model=reasoner, prompt=prompt.hash, frames=len(shown), notes=[thinned]),
    )
