"""Write the evidence: what the core frames show (VideoEspresso, section 4, stage 1).

With `captions_between` of the profile, the reasoner also reads the captions of the frames between
the core frames (Fang et al., "Threading Keyframe with Narratives" (Nar-KFC), 2025).
"""

from __future__ import annotations

from agents.answer.context import AnswerContext
from agents.answer.select import distinct_positions
from agents.answer.state import AnswerState, AnswerUpdate
from agents.trace import fit_prompt, make_step
from espresso.models.chat import usable_text
from espresso.schema import Caption

MAX_TOKENS = 256


async def evidence(state: AnswerState, context: AnswerContext) -> AnswerUpdate:
    """Fill `evidence` from `core_frames`.

    Raises MediaError, or ModelError if the reply is empty, cut off, refused or filtered.
    """
    roles, narrated = context.session.roles, context.session.profile.captions_between
    shown, prompt, note = await fit_prompt(
        "narrated" if narrated else "evidence",
        await context.show([core.frame for core in state.core_frames]),
        roles.reasoner,
        listed_as="frames",
        style=context.session.profile.prompts,
        max_tokens=MAX_TOKENS,
        question=state.question.text,
        **({"captions": _between(state)} if narrated else {}),
    )
    reply = await roles.reasoner.chat(prompt.messages, adapter=roles.adapters.get("evidence"), max_tokens=MAX_TOKENS)
    return AnswerUpdate(
        evidence=usable_text(reply, roles.reasoner, "evidence"),
        trace=make_step("evidence", [reply], model=roles.reasoner, prompt=prompt.hash, frames=len(shown), notes=[note]),
    )


def _between(state: AnswerState) -> list[Caption]:
    """Return the captions of other frames than the core frames, one of each run of equal ones."""
    distinct = [state.captions[at] for at in distinct_positions([(each.frame.visual, each.text) for each in state.captions])]
    core = {each.frame for each in state.core_frames}
    return [caption for caption in distinct if caption.frame not in core]
