"""The budget of a paid judge: concurrent work never exceeds it, and waits if it could."""

import asyncio
import random

import pytest

from agents.budget import Budget, BudgetExceededError, Prices, TokenUsage


async def spend(budget, maximum, actual, *, steps=1, on_start=lambda: None):
    """Do work of a known cost within the budget."""
    async with budget.reserve(maximum) as reservation:
        on_start()
        for _ in range(steps):
            await asyncio.sleep(0)
        reservation.spent = actual


def test_prices_are_per_million_tokens():
    assert Prices(input=2.0, output=8.0).dollars(TokenUsage(input=500_000, output=250_000)) == pytest.approx(3.0)


def test_concurrent_work_never_exceeds_the_limit():
    rng = random.Random(0)
    budget = Budget(10.0)

    async def work():
        maximum = rng.uniform(0.5, 3.0)
        await spend(budget, maximum, rng.uniform(0, maximum), steps=rng.randrange(5))

    async def run():
        return await asyncio.gather(*(work() for _ in range(60)), return_exceptions=True)

    outcomes = asyncio.run(run())
    assert 7 < budget.spent <= 10
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert refused
    assert all(isinstance(outcome, BudgetExceededError) for outcome in refused)


def test_work_that_does_not_fit_waits_for_the_actual_cost_of_earlier_work():
    budget, events = Budget(10.0), []

    async def run():
        first = spend(budget, 6.0, 1.0, steps=3, on_start=lambda: events.append(("first", budget.spent)))
        second = spend(budget, 6.0, 2.0, on_start=lambda: events.append(("second", budget.spent)))
        await asyncio.gather(first, second)

    asyncio.run(run())
    assert events == [("first", 0.0), ("second", 1.0)]
    assert budget.spent == 3.0


def test_work_that_cannot_fit_is_refused_with_what_was_spent():
    budget = Budget(5.0)

    async def run():
        await spend(budget, 4.0, 2.0)
        await spend(budget, 4.0, 0.0)

    with pytest.raises(BudgetExceededError, match=r"\$2 of \$5 are spent, and the next answer may cost up to \$4"):
        asyncio.run(run())


def test_failed_work_frees_its_reservation():
    budget = Budget(5.0)

    async def fail():
        async with budget.reserve(5.0):
            raise ValueError("the server hung up")

    async def run():
        with pytest.raises(ValueError, match="hung up"):
            await fail()
        await spend(budget, 5.0, 3.0)

    asyncio.run(run())
    assert budget.spent == 3.0
