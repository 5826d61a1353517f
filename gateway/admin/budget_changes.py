"""Changes of budgets by operators: checked against what they saw, and one after the other."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request

from gateway.admin.access import AdminError
from gateway.admin.wire import check_match, etag_of
from policies.scopes import Scope, nusd
from policies.stores.base import Balance, Meter, Store, StoreError
from policies.windows import RollingWindow

MOST_NUSD = 2**53 - 1  # what every store counts exactly: nine million dollars
T = TypeVar("T")
Change = Callable[[Meter], Balance | Awaitable[Balance]]


class BudgetChanges:
    """Raises and resets, one per process: nothing comes between the check of If-Match and the change.

    Another process on the same store may still change the budget in between.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def make(
        self, store: Store, scope: Scope, request: Request, change: Change, amount: int = 0
    ) -> tuple[Balance, Balance]:
        """The balance before and after; `amount` is what a raise adds. Raises AdminError, which the audit log gets as
        well: 400 for a sum that no store could count, 412 for another state, 503 where the store did not do it, or
        nobody knows.
        """
        async with self._turn:
            (before,) = await asked(store.balances([scope.meter]))
            check_match(request, budget_etag(scope, before))
            if abs(before.raised + amount) > MOST_NUSD:
                raise _wrong_amount(f"all raises of the window together may be {MOST_NUSD / 1e9:,.0f} at most")
            try:
                after = await asked(change(scope.meter))
            except AdminError:
                raise
            except Exception as error:  # the audit log has to have it, whatever it is
                raise AdminError(
                    503,
                    "store_unavailable",
                    f"The store of spending failed ({type(error).__name__}): look at the budget before you try again.",
                ) from error
        return before, after


def raised_by(amount_usd: float) -> int:
    """The nano-dollars of a raise. Raises AdminError (400) for what cannot be counted, or is nothing."""
    if abs(amount_usd) * 1e9 > MOST_NUSD:
        raise _wrong_amount(f"it may be {MOST_NUSD / 1e9:,.0f} at most, up or down")
    amount = nusd(amount_usd)
    if not amount:
        raise _wrong_amount("it is less than a nano-dollar, and would change nothing")
    return amount


def budget_etag(scope: Scope, balance: Balance) -> str:
    """The entity tag of a budget: of its limit with raises and carry-over, and of its window. What is spent or held is
    no part of it: under traffic nobody could change anything.
    """
    start_s = None if isinstance(scope.meter.window, RollingWindow) else balance.start_s
    return etag_of(repr((balance.meter_id, balance.limit, balance.raised, balance.carried, start_s)).encode())


async def asked(answer: T | Awaitable[T]) -> T:
    """What a store answers, at once or later. Raises AdminError (503)."""
    try:
        found: T = await answer if inspect.isawaitable(answer) else answer
    except StoreError as error:
        raise unreachable(error) from None
    return found


def unreachable(error: StoreError) -> AdminError:
    """The error of a store that cannot be asked."""
    return AdminError(503, "store_unavailable", f"The store of spending cannot be asked now: {error}")


def _wrong_amount(why: str) -> AdminError:
    return AdminError(400, "invalid_parameter", f"'amount_usd': {why}.", param="amount_usd")
