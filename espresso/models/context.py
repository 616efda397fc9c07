"""Fit a prompt to the context of a model by leaving out frames before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from espresso.errors import ModelError
from espresso.media import evenly_spaced
from espresso.models.chat import ChatModel, Conversation

F = TypeVar("F")


def fit_frames(
    render: Callable[[Sequence[F]], Conversation], frames: Sequence[F], model: ChatModel, max_tokens: int
) -> tuple[list[F], Conversation, str | None]:
    """Keep as many evenly spaced frames as fit the model's context together with the reply.

    Args:
        render: makes the conversation about some of the frames.
        frames: the frames, or anything else that can be left out, such as captions.
        model: counts the tokens of the conversation.
        max_tokens: length of the reply.

    Returns:
        The frames kept, their conversation, and a note for the trace if frames were left out.

    Raises:
        ModelError: the question does not fit even without frames.
    """
    limit = model.context_length - max_tokens

    def conversation(count: int) -> Conversation | None:
        messages = render(evenly_spaced(frames, count))
        return messages if model.count_tokens(messages).total <= limit else None

    if messages := conversation(len(frames)):
        return list(frames), messages, None
    fits, too_many, best = -1, len(frames), None
    while too_many - fits > 1:
        count = (fits + too_many) // 2
        if messages := conversation(count):
            fits, best = count, messages
        else:
            too_many = count
    if best is None:
        raise ModelError(
            f"{model.name}: the question alone, with a reply of {max_tokens} tokens, exceeds its context of "
            f"{model.context_length} tokens. Ask a shorter question."
        )
    note = f"only {fits} of {len(frames)} frames fit the context of {model.context_length} tokens; kept evenly spaced ones"
    return evenly_spaced(frames, fits), best, note
