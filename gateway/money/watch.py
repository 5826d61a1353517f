"""Beside the requests: leases are renewed, tokenizers loaded, and what the store found is told to metrics and log."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from gateway.money.opening import Books
from gateway.money.till import LEASE_S, Till
from gateway.runtime import Runtime
from gateway.telemetry.logs import Logger
from gateway.telemetry.money_metrics import MoneyMetrics
from policies.stores.base import StoreError
from providers.tokens import encoding_name, load_encoding

_EVERY_S = 1.0
_BALANCES_EVERY_S = 5.0  # one round trip for all budgets


class MoneyWatch:
    """One per process."""

    def __init__(self, books: Books, till: Till, metrics: MoneyMetrics, logger: Logger) -> None:
        self._books = books
        self._till = till
        self._metrics = metrics
        self._logger = logger
        self._loaded_for: Runtime | None = None

    async def run(self, current: Callable[[], Runtime]) -> None:
        """Until it is cancelled. `current()` gives the Runtime in use."""
        loop = asyncio.get_running_loop()
        renew_at = balances_at = 0.0
        while True:
            await self.load(current())
            now = loop.time()
            if now >= renew_at:
                renew_at = now + LEASE_S / 8
                self._till.renew()
            if now >= balances_at:
                balances_at = now + _BALANCES_EVERY_S
                await self._look(current())
            self.report()
            await asyncio.sleep(_EVERY_S)

    async def load(self, runtime: Runtime) -> None:
        """Load what the tokens of the configured models are counted with, where budgets make that matter. To be done
        before the first request too: answers that are cut are charged by this count.
        """
        if runtime is self._loaded_for or not runtime.scopes.has_budgets:
            return
        self._loaded_for = runtime
        models = {one.target.model for plan in runtime.router.plans.values() for one in plan.deployments()}
        needed = {encoding_name(model) for model in models}
        for name in needed - self._till.encodings:
            await asyncio.to_thread(load_encoding, name)
        self._till.encodings |= needed

    def report(self) -> None:
        """Tell what the store found since the last time."""
        reports = self._books.store.reports
        overruns, reports.overruns = reports.overruns, []
        for hold_id, meter_id, amount in overruns:
            if meter_id.startswith("budget/"):
                self._metrics.overrun(amount)
                self._logger.warning("budget overrun", hold=hold_id, meter=meter_id, usd=amount / 1e9)
        expired, reports.expired = reports.expired, []
        for hold in expired:
            self._metrics.expired(is_charged=hold.is_dispatched)
            self._logger.warning("hold expired", hold=hold.id, charged=hold.is_dispatched)
        status = getattr(self._books.store, "status", None)
        if status is not None:
            self._metrics.redis(is_degraded=status.state != "ok", waiting=status.waiting)

    async def _look(self, runtime: Runtime) -> None:
        """Note the balances of every budget that has one account for all."""
        budgets = [scope for scope in runtime.scopes.all(()) if scope.is_budget]
        if not budgets:
            return
        try:
            answer = self._books.store.balances([scope.meter for scope in budgets])
            balances = await answer if inspect.isawaitable(answer) else answer
        except StoreError:
            return  # the state of the store is told by itself
        for scope, balance in zip(budgets, balances, strict=True):
            self._metrics.budget(scope.name, spent_nusd=balance.spent, held_nusd=balance.held, limit_nusd=balance.limit)


def describe(books: Books) -> dict[str, Any] | None:
    """The state of the store for /readyz; None where there is nothing to tell."""
    status = getattr(books.store, "status", None)
    if status is not None:
        described: dict[str, Any] = {"kind": "redis", "state": str(status.state), "for_s": round(status.for_s, 1)}
        if status.reason:
            described["reason"] = status.reason
        return described | ({"settlements_waiting": status.waiting} if status.waiting else {})
    problem = getattr(books.store, "problem", None)
    return {"kind": "sqlite", "state": "failing", "reason": problem} if problem else None
