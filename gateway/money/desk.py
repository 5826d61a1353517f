"""Money and rates of requests as the pipeline sees them: open a tab before the first call, settle it after the last."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from gateway.money import headers as head
from gateway.money.entries import entries_of
from gateway.money.soft import SoftLimits
from gateway.money.tab import Tab
from gateway.money.till import Till
from gateway.runtime import Caller, Runtime
from policies.ledger import Entry, Purpose
from policies.outcome import Outcome
from policies.scopes import Scope
from policies.stores.base import Settlement, StoreError
from providers.base import Request
from routing.ask import Ask
from routing.decision import Decision


class Desk:
    """One per process. `now` gives Unix seconds. `keeps_ledger`: whether calls that no budget pays for are written down
    as well; `add` takes the entries where the store writes none itself.
    """

    def __init__(
        self,
        till: Till,
        soft: SoftLimits,
        now: Callable[[], float],
        *,
        keeps_ledger: bool,
        add: Callable[[Sequence[Entry]], None] | None = None,
    ) -> None:
        self.till = till
        self.soft = soft
        soft.store = till.store
        self.keeps_ledger = keeps_ledger
        self._now = now
        self._add = add

    def moved(self, runtime: Runtime, caller: Caller, ask: Ask) -> Caller:
        """Ask for another name where a budget beyond its soft limit says so. Returns who may then use that name.

        The operator chose it, so the key need not allow it; what was asked for has to be allowed all the same.
        """
        scopes = runtime.scopes.of_request(caller.scopes, caller.name, (ask.name,), (ask.name,), ask.tags())
        name = self.soft.moved(scopes, ask.name)
        if name == ask.name or not caller.may_use(ask.name):
            return caller
        ask.name = name
        return replace(caller, models=None)

    def scopes_of(self, runtime: Runtime, caller: Caller, ask: Ask, decision: Decision) -> tuple[Scope, ...]:
        """Every budget and limit of a request, also of models that it may be sent to after an error."""
        if not runtime.scopes.has_more:
            return caller.scopes
        models = [one.model for one in decision.candidates]
        asked: tuple[str, ...] = ()
        if decision.route is not None:
            models += runtime.detour_models(decision.route)
            asked = (decision.asked, decision.route)
        return runtime.scopes.of_request(caller.scopes, caller.name, asked, models, ask.tags())

    async def open(
        self,
        runtime: Runtime,
        scopes: Sequence[Scope],
        request: Request,
        ask: Ask,
        decision: Decision,
        headers: Mapping[bytes, bytes],
        until: float,
    ) -> tuple[Tab, Decision, bytes]:
        """Hold what the request may use. Returns the decision without candidates that are too dear, and header lines.

        Nothing is waited for beyond `until` (loop time). Raises RefusedError.
        """
        tab, decision = await self.till.take(runtime, scopes, request, ask, decision, until)
        try:
            lines = self._lines(tab)
            if headers.get(head.BUDGET_HEADER) == b"1":
                lines += head.budget_lines(tab, await self._limits(tab), self._now())
        except BaseException:
            self._give_back(tab)  # whoever leaves meanwhile holds something
            raise
        return tab, decision, lines

    def open_at_once(
        self,
        runtime: Runtime,
        scopes: Sequence[Scope],
        request: Request,
        ask: Ask,
        decision: Decision,
        headers: Mapping[bytes, bytes],
    ) -> tuple[Tab, Decision, bytes] | None:
        """The same without waiting, where there is nothing to wait for or to change; None where there is."""
        if head.BUDGET_HEADER in headers:
            return None
        tab = self.till.take_at_once(runtime, scopes, request, ask, decision)
        if tab is None:
            return None
        try:
            return tab, decision, self._lines(tab)
        except BaseException:
            self._give_back(tab)
            raise

    async def open_copy(
        self, runtime: Runtime, route: str, request: Request, ask: Ask, decision: Decision, until: float
    ) -> tuple[Tab | None, Decision]:
        """Hold what a mirrored copy may use of the budgets and limits of its route and model. Raises RefusedError."""
        scopes = runtime.scopes.of_request((), None, [route], [one.model for one in decision.candidates], ())
        return await self.till.take(runtime, scopes, request, ask, decision, until) if scopes else (None, decision)

    def settle(self, outcome: Outcome, tab: Tab | None, caller: Caller, ask: Ask) -> None:
        """Charge what was used, and write the ledger. Synchronous: no cancellation comes between."""
        self._write(outcome, tab, caller.team, ask.tags())

    def settle_copy(self, outcome: Outcome, tab: Tab | None) -> None:
        """The same for a mirrored copy, which no caller pays for."""
        if tab is not None or self.keeps_ledger:
            self._write(outcome, tab, purpose=Purpose.MIRROR)

    def settle_own(self, outcome: Outcome, tab: Tab | None, payer: Caller, ask: Ask, purpose: Purpose) -> None:
        """The same for a call that the gateway made for itself, in the name of `payer`."""
        if tab is not None or self.keeps_ledger:
            self._write(outcome, tab, payer.team, ask.tags(), purpose)

    def _lines(self, tab: Tab) -> bytes:
        """What the head of every answer says of limits and budgets."""
        lines = self.soft.look(tab) + head.rate_lines(tab)
        return lines if tab.worst.output_cap is None else lines + head.shortened_lines(tab.worst.output_cap)

    def _give_back(self, tab: Tab) -> None:
        """There will be no call."""
        self.till.close(tab)
        tab.release()

    async def _limits(self, tab: Tab) -> dict[str, int]:
        """The limits of its budgets by meter, with what was carried over and raised; empty where nobody can say."""
        meters = [scope.meter for scope in tab.scopes if scope.is_budget]
        try:
            answer = self.till.store.balances(meters)
            balances = await answer if inspect.isawaitable(answer) else answer
        except StoreError:
            return {}
        return {balance.meter_id: balance.limit for balance in balances}

    def _write(
        self,
        outcome: Outcome,
        tab: Tab | None,
        team: str | None = None,
        tags: Iterable[str] = (),
        purpose: Purpose | None = None,
    ) -> None:
        entries: list[Entry] = []
        if outcome.attempts:
            prefix = self.till.new_id() if tab is None else tab.id
            entries = entries_of(outcome, at_s=self._now(), team=team, tags=tags, prefix=prefix, purpose=purpose)
        if self._add is not None:
            self._add(entries)
        if tab is not None:
            self.till.close(tab)
            tab.settle(outcome, entries)
        elif entries:
            self.till.store.settle(Settlement(entries[0].id, (), entries))
