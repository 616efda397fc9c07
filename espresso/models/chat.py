"""What a chat model is: messages of text and pictures in, a completion out, the same for every backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from pydantic import BaseModel

from espresso.media import data_url


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture in a message: (height, width, 3) uint8 RGB."""

    pixels: np.ndarray

    @cached_property
    def url(self) -> str:
        """As a `data:` URL: encoded once, however often it is sent."""
        return data_url(self.pixels)


@dataclass(frozen=True)
class Message:
    """One turn. content: text and pictures in reading order."""

    role: Literal["system", "user", "assistant"]
    content: tuple[str | Picture, ...]

    @property
    def pictures(self) -> int:
        """How many pictures the turn holds."""
        return sum(isinstance(part, Picture) for part in self.content)


Conversation = Sequence[Message]


@dataclass(frozen=True)
class TokenCount:
    """Size of a prompt. total includes visual."""

    total: int
    visual: int


@dataclass(frozen=True)
class Completion:
    """A model's reply.

    text: what it said; the chosen string where `choices` were given. parsed: the validated object where a `schema` was given, or
    None if what came back does not fit it (then `text` holds what came). logprobs: choice -> natural log of its probability
    among the choices, summing to one; empty where a server does not tell. confidence: the choice's probability, or the geometric
    mean of the token probabilities; None where a server does not tell. requests: a server's names for what it was asked, as its
    log has them.
    """

    text: str
    parsed: BaseModel | None = None
    logprobs: dict[str, float] = field(default_factory=dict)
    confidence: float | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_visual: int = 0
    requests: tuple[str, ...] = ()


class ChatModel(Protocol):
    """A model that chats. `name` is for traces and cache keys; `context_length` is in tokens, prompt and reply together."""

    name: str

    @property
    def context_length(self) -> int:
        """Tokens, prompt and reply together."""
        ...

    async def chat(
        self,
        messages: Conversation,
        *,
        choices: Sequence[str] | None = None,
        schema: type[BaseModel] | None = None,
        adapter: str | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> Completion:
        """Reply to one conversation.

        choices: the reply is exactly one of these, scored by log-probability. schema: the reply is JSON of this model.
        adapter: the LoRA adapter to use, by name; None is the base. Raises ModelError where no reply can be had.
        """
        ...

    async def chat_many(
        self,
        conversations: Sequence[Conversation],
        *,
        choices: Sequence[str] | None = None,
        schema: type[BaseModel] | None = None,
        adapter: str | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> list[Completion]:
        """Reply to many conversations, in order; batched or concurrent, whichever the backend is good at."""
        ...

    def count_tokens(self, messages: Conversation) -> TokenCount:
        """How long a prompt is, before it is sent; exact in process, an upper estimate for a server."""
        ...

    async def aclose(self) -> None:
        """Give back connections and memory."""
        ...
