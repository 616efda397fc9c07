"""Write the evidence: what the core frames show (VideoEspresso, section 4, stage 1)."""

from __future__ import annotations

from agents.answer.context import AnswerContext
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import fit_prompt, make_step
from espresso.models.chat import usable_text

MAX_TOKENS = 256


async def evidence(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Fill `evidence` from `core_frames`.

    Raises MediaError, or ModelError if the reply is empty, cut off, refused or filtered.
    """
    roles = context.session.roles
    shown, prompt, note = await fit_prompt(
        "evidence",
        await context.show([core.frame for core in state.core_frames]),
        roles.reasoner,
        listed_as="frames",
        style=context.session.profile.prompts,
        max_tokens=MAX_TOKENS,
        question=state.question.text,
    )
    reply = await roles.reasoner.chat(prompt.messages, adapter=roles.adapters.get("evidence"), max_tokens=MAX_TOKENS)
    return AnswerUpdate(
        evidence=usable_text(reply, roles.reasoner, "evidence"),
        trace=make_step("evidence", [reply], model=roles.reasoner, prompt=prompt.hash, frames=len(shown), notes=[note]),
    )
