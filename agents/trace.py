"""What nodes share: prompts that fit the model's context, and the step that a node records."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import prompts
from espresso.cache import CachedCaption
from espresso.fusion.classifier import FusionClassifier
from espresso.models import ChatModel, Completion, fit_frames
from espresso.models.embedder import Embedder
from espresso.models.zero_shot import ObjectDetector
from espresso.schema import Step
from prompts import Prompt

Item = TypeVar("Item")


async def fit_prompt(
    name: str, items: Sequence[Item], model: ChatModel, *, listed_as: str, style: prompts.Style, max_tokens: int, **inputs: Any
) -> tuple[list[Item], Prompt, str | None]:
    """Render a prompt over as many items as fit the model's context next to the reply.

    Args:
        name: name of the prompt template.
        items: frames or captions, anything that can be left out.
        model: the model that will be asked.
        listed_as: the template's name for the items.
        style: style of the prompt templates.
        max_tokens: length of the reply, in tokens.
        **inputs: the template's other inputs.

    Returns:
        The items kept, the prompt, and a note if some items were left out.

    Raises:
        ModelError: even the prompt without items does not fit.
    """

    def render(kept: Sequence[Item]) -> Prompt:
        return prompts.render(name, style=style, **{listed_as: list(kept)}, **inputs)

    def fit() -> tuple[list[Item], Prompt, str | None]:
        kept, _, note = fit_frames(lambda some: render(some).messages, items, model, max_tokens)
        return kept, render(kept), note

    return await asyncio.to_thread(fit)  # the first call loads the model


def make_step(
    node: str,
    replies: Sequence[Completion] = (),
    *,
    model: ChatModel | Embedder | FusionClassifier | ObjectDetector | None = None,
    prompt: str | None = None,
    frames: int = 0,
    saved: Sequence[Completion | CachedCaption] = (),
    notes: Iterable[str | None] = (),
) -> tuple[Step]:
    """Make the trace of one node: a single step. The graph adds its role and its time.

    Args:
        node: name of the node.
        replies: the model's replies, whose tokens are summed.
        model: the model that was asked.
        prompt: hash of the prompt template.
        frames: frames that the model was shown.
        saved: replies that came from the cache.
        notes: what did not go as planned; None is skipped.
    """
    return (
        Step(
            node=node,
            model=model.name if model else None,
            prompt=prompt,
            tokens_in=sum(reply.tokens_in for reply in replies),
            tokens_out=sum(reply.tokens_out for reply in replies),
            tokens_visual=sum(reply.tokens_visual for reply in replies),
            frames=frames,
            cached=len(saved),
            saved_in=sum(reply.tokens_in for reply in saved),
            saved_out=sum(reply.tokens_out for reply in saved),
            saved_visual=sum(reply.tokens_visual for reply in saved),
            requests=tuple(name for reply in replies for name in reply.requests),
            note="; ".join(note for note in notes if note) or None,
        ),
    )
