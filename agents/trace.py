"""What nodes share: prompts that fit the model, evenly spread frames, and the step that a node leaves in the trace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

import prompts
from espresso.cache import Kept
from espresso.models import ChatModel, Completion, fit_frames
from espresso.schema import Step
from prompts import Prompt

Item = TypeVar("Item")


def fitted(
    name: str, items: Sequence[Item], model: ChatModel, *, listed_as: str, style: prompts.Style, max_tokens: int, **inputs: Any
) -> tuple[list[Item], Prompt, str | None]:
    """Render a prompt over as many of `items` as the model's context holds beside a reply of `max_tokens`.

    listed_as: the template's name for the items. Returns those kept, the prompt, and a note where some had to go.
    Raises ModelError where not even the prompt without items fits.
    """

    def render(kept: Sequence[Item]) -> Prompt:
        return prompts.render(name, style=style, **{listed_as: list(kept)}, **inputs)

    kept, _, note = fit_frames(lambda some: render(some).messages, items, model, max_tokens)
    return kept, render(kept), note


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """`count` of the items (all where there are fewer), evenly spread, each from the middle of its stretch, in their order."""
    count = min(count, len(items))
    middles = (np.arange(count) + 0.5) * len(items) / max(count, 1)
    return [items[int(middle)] for middle in middles]


def step(
    node: str,
    replies: Sequence[Completion] = (),
    *,
    model: ChatModel | None = None,
    prompt: str | None = None,
    frames: int = 0,
    saved: Sequence[Completion | Kept] = (),
    notes: Iterable[str | None] = (),
) -> tuple[Step]:
    """Make the one step of a node: its tokens summed over the replies, its notes joined; the graph times it.

    saved: replies that were known.
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
