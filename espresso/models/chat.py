"""The protocol of all chat models: messages of text and pictures in, a completion out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, TypedDict, Unpack

import numpy as np
from pydantic import BaseModel, ValidationError

from espresso.errors import ModelError
from espresso.media import data_url
from espresso.replies import parse_json


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture in a message."""

    pixels: np.ndarray
    """Shape (height, width, 3), uint8 RGB."""

    @cached_property
    def url(self) -> str:
        """The picture as a `data:` URL, encoded once however often it is sent."""
        return data_url(self.pixels)


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]

    content: tuple[str | Picture, ...]
    """Text and pictures in reading order."""

    @property
    def pictures(self) -> int:
        """Number of pictures in the turn."""
        return sum(isinstance(part, Picture) for part in self.content)


Conversation = Sequence[Message]


@dataclass(frozen=True)
class TokenCount:
    """Size of a prompt in tokens."""

    total: int
    """All tokens, visual tokens included."""

    visual: int
    """Tokens of the pictures."""


@dataclass(frozen=True)
class Completion:
    """A model's reply to one conversation."""

    text: str
    """The reply without the model's thoughts; the chosen string if the request had `choices`."""

    parsed: BaseModel | None = None
    """The validated object if the request had a `schema`; None if the reply does not match it."""

    logprobs: dict[str, float] = field(default_factory=dict)
    """Choice -> natural log of its probability among the choices; empty if unknown."""

    confidence: float | None = None
    """Probability of the choice, or geometric mean of the token probabilities; None if unknown."""

    tokens_in: int = 0
    """Prompt tokens, visual tokens included."""

    tokens_out: int = 0
    """Reply tokens, the end of the turn included."""

    tokens_visual: int = 0
    """Tokens of the pictures; an upper estimate for a server."""

    requests: tuple[str, ...] = ()
    """The server's ids of the requests, as in its log."""

    fault: str | None = None
    """Why the reply cannot be used: it is empty, cut off, refused or filtered; None if it is whole.

    A faulty reply is no caption, evidence or answer, and is not cached.
    """


class GenerateOptions(TypedDict, total=False):
    """Keyword arguments of `ChatModel.chat` and `ChatModel.chat_many`; all are optional."""

    choices: Sequence[str] | None
    """The reply is exactly one of these strings, the most probable one."""

    schema: type[BaseModel] | None
    """The reply is JSON of this model."""

    adapter: str | None
    """Name of the LoRA adapter to use; None is the base model."""

    max_tokens: int
    """Upper bound on the length of the reply, in tokens."""

    temperature: float
    """0 is greedy decoding. Has no effect on `choices`."""

    seed: int | None
    """Seed for sampling; None samples differently each time."""


@dataclass(frozen=True)
class GenerateConfig:
    """`GenerateOptions` with defaults. Hashable: requests with equal configs can share a batch."""

    choices: Sequence[str] | None = None
    schema: type[BaseModel] | None = None
    adapter: str | None = None

    max_tokens: int = 256
    """Long enough for the evidence of a few frames."""

    temperature: float = 0.0
    seed: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices) if self.choices else None)


OnReply = Callable[[int, Completion], None]
"""Called with the position of a conversation and its reply, as soon as there is one."""


class ChatModel(Protocol):
    """A model that chats. It can be used from several threads and event loops at once."""

    name: str
    """Identifies the model and its weights, in traces and cache keys."""

    @property
    def context_length(self) -> int:
        """Limit for prompt and reply together, in tokens."""
        ...

    async def chat(self, messages: Conversation, **options: Unpack[GenerateOptions]) -> Completion:
        """Reply to one conversation.

        Raises:
            ModelError: the model cannot be loaded or reached, or cannot fulfil the request.
        """
        ...

    async def chat_many(
        self, conversations: Sequence[Conversation], *, on_reply: OnReply | None = None, **options: Unpack[GenerateOptions]
    ) -> list[Completion]:
        """Reply to many conversations, in order; batched or concurrent, depending on the backend.

        Args:
            conversations: the conversations.
            on_reply: called with each reply, in the order in which they are made.
            **options: options of all requests.

        Raises:
            ModelError: one of the replies failed.
        """
        ...

    def count_tokens(self, messages: Conversation) -> TokenCount:
        """Return the size of a prompt: exact in this process, an upper estimate for a server."""
        ...

    async def disconnect(self) -> None:
        """Close the connections of the running event loop; the next request opens new ones."""
        ...

    def close(self) -> None:
        """Free the weights and the worker threads. A closed model cannot be used again."""
        ...


async def chat_at(
    position: int, model: ChatModel, messages: Conversation, on_reply: OnReply | None, **options: Unpack[GenerateOptions]
) -> Completion:
    """Reply to one of many conversations, the one at a position, and report the reply."""
    completion = await model.chat(messages, **options)
    if on_reply:
        on_reply(position, completion)
    return completion


def parse_reply(schema: type[BaseModel], text: str) -> BaseModel | None:
    """Return the validated object, or None if no JSON in the text matches the schema."""
    try:
        return parse_json(schema, text)
    except ValidationError:
        return None


def usable_text(reply: Completion, model: ChatModel, purpose: str) -> str:
    """Return the text of a reply.

    Args:
        reply: the reply.
        model: the model that gave it, for the error message.
        purpose: what the reply was asked for, such as "evidence".

    Raises:
        ModelError: the reply cannot be used.
    """
    if reply.fault:
        raise ModelError(f"{model.name} gave no {purpose}: {reply.fault}.")
    return reply.text.strip()


def length_fault(tokens: int | None, *, thinking: bool = False) -> str:
    """Return the fault of a reply that was cut off.

    Args:
        tokens: its length; None if unknown.
        thinking: whether it ends before the reply proper.
    """
    what = "its thoughts were cut off" if thinking else "the reply was cut off"
    return f"{what}{f' at {tokens} tokens' if tokens else ''}; raise `extra_tokens` in the profile"
