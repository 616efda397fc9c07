"""The cost of a paid model: estimated before requests, counted after them, and limited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Unpack

from agents.session import Session
from espresso.errors import EspressoError, ProfileError
from espresso.models import ChatModel, Completion, Conversation, Roles, TokenCount
from espresso.models.chat import GenerateConfig, GenerateOptions, OnReply, chat_at
from espresso.profiles import Profile, ServerRole


class BudgetExceededError(EspressoError):
    """The next request could cost more than what is left of the budget."""


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of one or more requests."""

    input: int
    """Prompt tokens."""

    output: int
    """Completion tokens."""


@dataclass(frozen=True)
class Prices:
    """Prices of a model in dollars per million tokens."""

    input: float
    """Price of a million prompt tokens."""

    output: float
    """Price of a million completion tokens."""

    def dollars(self, tokens: TokenUsage) -> float:
        """Return the cost of the tokens in dollars."""
        return (tokens.input * self.input + tokens.output * self.output) / 1e6


@dataclass
class Reservation:
    """A part of the budget that is reserved for work in progress."""

    maximum: float
    """The most that the work can cost, in dollars."""

    spent: float = 0.0
    """What the work did cost, in dollars; set before the reservation is released."""


class Budget:
    """A limit on the total cost of concurrent work.

    Work reserves its maximum cost before it starts, so the limit holds however much runs at once.

    Args:
        limit: dollars.
    """

    limit: float
    """The limit, in dollars."""

    spent: float
    """What finished work did cost, in dollars."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.spent = 0.0
        self._reservations: list[Reservation] = []
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def reserve(self, maximum: float) -> AsyncIterator[Reservation]:
        """Reserve a part of the budget; wait for other work to finish if too little is left.

        On exit the reservation is replaced by its actual cost, `Reservation.spent`.

        Args:
            maximum: the most that the work can cost, in dollars.

        Raises:
            BudgetExceededError: too little is left, and no work is in progress that could free
                some.
        """
        reservation = Reservation(maximum)
        async with self._changed:
            await self._changed.wait_for(lambda: self._available() >= maximum or not self._reservations)
            if self._available() < maximum:
                raise BudgetExceededError(
                    f"${self.spent:.4g} of ${self.limit:g} are spent, and the next answer may cost up to ${maximum:.2g}."
                )
            self._reservations.append(reservation)
        try:
            yield reservation
        finally:
            async with self._changed:
                self._reservations = [other for other in self._reservations if other is not reservation]
                self.spent += reservation.spent
                self._changed.notify_all()

    def _available(self) -> float:
        return self.limit - self.spent - sum(reservation.maximum for reservation in self._reservations)


class MeteredModel:
    """A chat model whose requests are paid from a budget.

    Args:
        model: the model.
        prices: its prices.
        budget: the budget, which several models may share.
        extra_tokens: tokens that a reply may have beyond `max_tokens`, as in the model's role.
    """

    def __init__(self, model: ChatModel, prices: Prices, budget: Budget, extra_tokens: int = 0) -> None:
        self.name = model.name
        self._model, self._prices, self._budget, self._extra_tokens = model, prices, budget, extra_tokens

    @property
    def context_length(self) -> int:
        """See `ChatModel.context_length`."""
        return self._model.context_length

    async def chat(self, messages: Conversation, **options: Unpack[GenerateOptions]) -> Completion:
        """Reply to one conversation; see `ChatModel.chat`.

        Raises:
            BudgetExceededError: the reply could cost more than what is left of the budget.
        """
        longest = options.get("max_tokens", GenerateConfig.max_tokens) + self._extra_tokens
        maximum = self._prices.dollars(TokenUsage(self.count_tokens(messages).total, longest))
        async with self._budget.reserve(maximum) as reservation:
            reply = await self._model.chat(messages, **options)
            reservation.spent = self._prices.dollars(TokenUsage(reply.tokens_in, reply.tokens_out))
        return reply

    async def chat_many(
        self, conversations: Sequence[Conversation], *, on_reply: OnReply | None = None, **options: Unpack[GenerateOptions]
    ) -> list[Completion]:
        """Reply to many conversations concurrently; see `ChatModel.chat_many` and `chat`."""
        replies = (chat_at(at, self, messages, on_reply, **options) for at, messages in enumerate(conversations))
        return list(await asyncio.gather(*replies))

    def count_tokens(self, messages: Conversation) -> TokenCount:
        """See `ChatModel.count_tokens`."""
        return self._model.count_tokens(messages)

    async def disconnect(self) -> None:
        """See `ChatModel.disconnect`."""
        await self._model.disconnect()

    def close(self) -> None:
        """See `ChatModel.close`."""
        self._model.close()


def metered(roles: Roles, profile: Profile, budget: Budget) -> Roles:
    """Return the models of a profile, those with prices paid from a budget."""
    paid = {
        name: MeteredModel(getattr(roles, name), prices, budget, role.extra_tokens)
        for name, role in profile.roles.items()
        if isinstance(role, ServerRole) and (prices := prices_of(profile, name))
    }
    return replace(roles, **paid)  # type: ignore[arg-type]


def with_budget(session: Session, max_cost: float | None) -> Session:
    """Return a session whose requests are paid from a budget; it shares models and cache."""
    if max_cost is None:
        return session
    return Session(session.profile, roles=metered(session.roles, session.profile, Budget(max_cost)), cache=session.cache or False)


def check_prices(profile: Profile, names: Collection[str]) -> None:
    """Check that the cost of a profile's roles can be limited.

    Args:
        profile: the profile.
        names: the roles that are asked.

    Raises:
        ProfileError: one of them is a server without prices, or none is a server.
    """
    asked = {name: role for name, role in profile.roles.items() if name in names and isinstance(role, ServerRole)}
    unpriced = [name for name, role in asked.items() if role.price_in is None]
    if unpriced or not asked:
        where = f"[{unpriced[0]}]" if unpriced else "its roles"
        raise ProfileError(f"profile {profile.name}: --max-cost needs prices. Add price_in and price_out to {where}.")


def prices_of(profile: Profile, name: str) -> Prices | None:
    """Return the prices of a role of a profile; None if it has none."""
    role = profile.roles.get(name)
    if not isinstance(role, ServerRole) or role.price_in is None or role.price_out is None:
        return None
    return Prices(role.price_in, role.price_out)
