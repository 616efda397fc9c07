"""Ask the writer about a group of captions."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from agents.annotate.graph.state import Group
from agents.answer.context import AnswerContext
from agents.trace import fit_prompt, make_step
from espresso.errors import ModelError, ServerDownError
from espresso.schema import Step

Reply = TypeVar("Reply", bound=BaseModel)


async def ask_writer(
    template: str, schema: type[Reply], context: AnswerContext, group: Group, *, max_tokens: int, node: str = "", **inputs: object
) -> tuple[Reply | str, Step]:
    """Ask one of the prompts in `prompts/<style>/annotate`.

    Args:
        template: name of the prompt template.
        schema: what the reply must be.
        context: the opened context.
        group: the group whose captions the prompt lists.
        max_tokens: length of the reply.
        node: name of the node for the trace; empty is the template's name.
        **inputs: further inputs of the template.

    Returns:
        The reply, or why there is none, and the step of the trace.

    Raises:
        ServerDownError: the writer's server does not answer.
        BudgetExceededError: the reply could cost more than what is left of the budget.
    """
    writer, profile = context.session.roles.writer, context.session.profile
    assert writer, "checked before the first video"
    captions = [{"number": number, "time": scene.core.time, "text": scene.text} for number, scene in enumerate(group.scenes, 1)]
    try:
        _, prompt, note = await fit_prompt(
            f"annotate/{template}",
            captions,
            writer,
            listed_as="captions",
            style=profile.prompts,
            max_tokens=max_tokens,
            **inputs,
        )
        reply = await writer.chat(prompt.messages, schema=schema, max_tokens=max_tokens)
    except ServerDownError:
        raise
    except ModelError as error:
        (step,) = make_step(node or template, model=writer, notes=[str(error)])
        return str(error), step
    (step,) = make_step(node or template, [reply], model=writer, prompt=prompt.hash, frames=len(captions), notes=[note])
    if isinstance(reply.parsed, schema):
        return reply.parsed, step
    return f"the writer's reply could not be read: {reply.fault or repr(reply.text[:80])}", step
