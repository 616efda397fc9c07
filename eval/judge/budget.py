"""What asking a paid model costs: reckoned before, counted while it is asked, and held to a limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from espresso.errors import EspressoError


class SpentError(EspressoError):
    """What comes next might cost more than is left."""


@dataclass(frozen=True)
class Tokens:
    """Tokens that a model reads, and those that it writes."""

    read: int
    written: int


@dataclass(frozen=True)
class Prices:
    """Dollars a million tokens, read and written."""

    read: float
    written: float

    def dollars(self, tokens: Tokens) -> float:
        """What these tokens cost."""
        return (tokens.read * self.read + tokens.written * self.written) / 1e6


@dataclass
class Bill:
    """One thing that is bought: the most it may cost, and what it did. Dollars."""

    most: float
    paid: float = 0.0


class Purse:
    """Holds what is bought at the same time to one limit, in dollars."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.spent = 0.0
        self._open: list[Bill] = []
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def bill(self, most: float) -> AsyncIterator[Bill]:
        """Wait until `most` dollars are surely left, and write into the bill's `paid` what it came to.

        Raises SpentError once nothing is under way and still too little is left.
        """
        bill = Bill(most)
        async with self._changed:
            await self._changed.wait_for(lambda: self._left() >= most or not self._open)
            if self._left() < most:
                raise SpentError(f"${self.spent:.4g} of ${self.limit:g} are spent, and the next may cost up to ${most:.2g}.")
            self._open.append(bill)
        try:
            yield bill
        finally:
            async with self._changed:
                self._open = [each for each in self._open if each is not bill]
                self.spent += bill.paid
                self._changed.notify_all()

    def _left(self) -> float:
        return self.limit - self.spent - sum(bill.most for bill in self._open)
