"""The token budget: what does not fit a model's context is thinned before it is sent, never refused by a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from espresso.errors import ModelError
from espresso.models.chat import ChatModel, Conversation

F = TypeVar("F")


def fit_frames(
    render: Callable[[Sequence[F]], Conversation], frames: Sequence[F], model: ChatModel, max_tokens: int
) -> tuple[list[F], Conversation, str | None]:
    """Keep as many frames, evenly spread, as fit the model's context together with a reply of `max_tokens`.

    render: the conversation about some of the frames (or captions: anything that can be left out). Returns the frames kept, their
    conversation, and a note for the trace where frames were left out. Raises ModelError if not even the question alone fits.
    """
    room = model.context_length - max_tokens

    def conversation(count: int) -> Conversation | None:
        messages = render(_spread(frames, count))
        return messages if model.count_tokens(messages).total <= room else None

    if whole := conversation(len(frames)):
        return list(frames), whole, None
    fitting, over, best = -1, len(frames), None
    while over - fitting > 1:
        middle = (fitting + over) // 2
        if messages := conversation(middle):
            fitting, best = middle, messages
        else:
            over = middle
    if best is None:
        raise ModelError(
            f"{model.name}: the question alone, with a reply of {max_tokens} tokens, is over its context of "
            f"{model.context_length} tokens. Ask a shorter question."
        )
    note = f"{fitting} of {len(frames)} frames fit the context of {model.context_length} tokens; the others were left out evenly"
    return _spread(frames, fitting), best, note


def _spread(frames: Sequence[F], count: int) -> list[F]:
    """Take the middles of `count` equal stretches."""
    return [frames[int((place + 0.5) * len(frames) / count)] for place in range(count)]
