"""Changes of budgets where the store fails in a way of its own, and where two come at the same time."""

import asyncio
from datetime import UTC

import pytest
from starlette.requests import Request

from gateway.admin.access import AdminError
from gateway.admin.budget_changes import BudgetChanges, budget_etag, raised_by
from policies.scopes import Scope
from policies.stores.base import Meter, Unit
from policies.stores.memory import MemoryStore
from policies.windows import Calendar, CalendarWindow

SCOPE = Scope("team", Meter("budget/team/day", Unit.NUSD, 1_000, CalendarWindow(Calendar.DAY, UTC)), None)


def _request(etag="*"):
    return Request({"type": "http", "headers": [(b"if-match", etag.encode())]})


class Slow(MemoryStore):
    """Answers later, as a store elsewhere does."""

    async def balances(self, meters):
        found = super().balances(meters)
        await asyncio.sleep(0)
        return found


def test_of_two_who_saw_the_same_only_one_raises_it():
    async def story():
        store, changes = Slow(lambda: 1e9), BudgetChanges()
        (seen,) = await store.balances([SCOPE.meter])
        asking = _request(budget_etag(SCOPE, seen))
        raises = [changes.make(store, SCOPE, asking, lambda meter: store.raise_limit(meter, 50), 50) for _ in range(2)]
        first, second = await asyncio.gather(*raises, return_exceptions=True)
        assert first[1].limit == 1_050
        assert second.status == 412

    asyncio.run(story())


@pytest.mark.parametrize("error", [OverflowError("too large"), TypeError("not JSON"), RuntimeError("who knows")])
def test_a_store_that_breaks_is_an_error_that_can_be_noted(error):
    def breaks(_):
        raise error

    async def story():
        with pytest.raises(AdminError) as caught:
            await BudgetChanges().make(MemoryStore(lambda: 1e9), SCOPE, _request(), breaks)
        assert (caught.value.status, caught.value.code) == (503, "store_unavailable")

    asyncio.run(story())


def test_the_largest_raise():
    assert (raised_by(9_007_199.25), raised_by(-9_007_199.25)) == (9_007_199_250_000_000, -9_007_199_250_000_000)
    with pytest.raises(AdminError):
        raised_by(9_007_199.26)
