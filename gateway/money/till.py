"""Holds what a request may use of its budgets and limits before any call is made, or says why it may not be made."""

import asyncio
from collections.abc import Callable, Sequence

from gateway.money.fitting import Fitting
from gateway.money.tab import Tab
from gateway.money.terms import KnownTerms
from gateway.money.turns import Turns
from gateway.money.worst_case import WorstCase
from gateway.runtime import Runtime
from gateway.wire import refusals_money
from gateway.wire.refusals import RefusedError
from policies.scopes import Scope
from policies.stores.base import Denied, Granted, Store, Verdict
from policies.stores.groups import Asked
from providers.base import Request
from providers.tokens import EncodingName
from routing.ask import Ask
from routing.decision import Decision

_WAITING_PART = 4  # one of so many places may be taken by requests that wait for a limit
LEASE_S = 120.0  # after a crash, held money is free again, or charged, this much later


class Till:
    """One per process. `now` gives Unix seconds, `new_id` ids that no other process gives."""

    def __init__(
        self, store: Store, loop: asyncio.AbstractEventLoop, now: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self.store = store
        self.turns = Turns(loop)
        self.open_tabs: dict[str, float] = {}  # holds that are not settled, with the loop time of their last renewal
        self.encodings: frozenset[EncodingName] = frozenset()  # loaded: that takes longer than a request may wait
        self._terms = KnownTerms()
        self._loop = loop
        self._now = now
        self.new_id = new_id

    async def take(
        self, runtime: Runtime, scopes: Sequence[Scope], request: Request, ask: Ask, decision: Decision, until: float
    ) -> tuple[Tab, Decision]:
        """Hold the most that the request can use. The decision comes back without the candidates that are too dear.

        For a rate limit it waits as long as that says, at most until `until` (loop time).
        Raises RefusedError: 429 where a budget or limit does not suffice, 4xx where the request can never be paid for,
        503 where the store cannot say.
        """
        hold_id, terms, store = self.new_id(), self._terms.of(scopes), self.store
        tab = Tab(hold_id, terms, WorstCase(request, ask, runtime.upstreams), store, self.encodings)
        fitting = Fitting(tab, request, decision)
        if terms.has_budget:
            fitting.begin()
        began, patience = self._loop.time(), None
        if self.turns.queues:
            patience = _Patience(began, until, runtime)
            queues = {scope.meter.id: patience.deadline(scope) for scope in scopes if scope.wait_s}
            patience.waited_for = await self.turns.after_those_who_wait(queues, patience.room)
            began = self._loop.time()
        self.open_tabs[hold_id] = began
        try:
            while True:
                held = tab.held = fitting.amounts()
                lines = Asked(tab.terms.meters, held)
                answer = store.hold(hold_id, lines, LEASE_S, is_dispatched=store.is_remote)
                verdict = answer if isinstance(answer, Verdict) else await answer
                if isinstance(verdict, Granted):
                    break
                if not isinstance(verdict, Denied):
                    raise refusals_money.store_unavailable(_first(scopes))
                if patience is None:
                    patience = _Patience(began, until, runtime)
                await self._make_room(tab, fitting, verdict, patience)
        except RefusedError:
            del self.open_tabs[hold_id]
            raise
        except BaseException:
            self.close(tab)  # whoever left while a shared store was asked may hold something
            tab.release()
            raise
        tab.left = verdict.left
        return tab, fitting.decision

    def take_at_once(
        self, runtime: Runtime, scopes: Sequence[Scope], request: Request, ask: Ask, decision: Decision
    ) -> Tab | None:
        """The same where all of it fits as it is and nobody waits, as nearly always; None where `take` has to look."""
        store, terms = self.store, self._terms.of(scopes)
        if store.is_remote or not terms.is_plain or self.turns.queues:
            return None
        worst = WorstCase(request, ask, runtime.upstreams)
        dearest = of_input = of_output = of_both = 0
        if terms.has_budget:
            for one in decision.candidates:
                cost = worst.nusd(one)
                if cost is None:
                    return None
                dearest = max(dearest, cost)
        if terms.counts_tokens:
            of_input, of_output, of_both = worst.all_tokens()
        amounts = terms.pick((dearest, 1, of_input, of_output, of_both))
        hold_id = self.new_id()
        verdict = store.hold(hold_id, Asked(terms.meters, amounts), LEASE_S)
        if type(verdict) is not Granted:
            return None
        tab = Tab(hold_id, terms, worst, store, self.encodings)
        tab.held = amounts
        tab.left = verdict.left
        self.open_tabs[hold_id] = self._loop.time()
        return tab

    def close(self, tab: Tab) -> None:
        """The request is over, and its tab about to be settled: whoever waits for a place may try."""
        self.open_tabs.pop(tab.id, None)
        if self.turns.queues:
            self.turns.freed([scope.meter.id for scope in tab.scopes if scope.meter.is_returned])

    def renew(self) -> None:
        """Tell the store which requests are still running; to be called a few times per lease."""
        now = self._loop.time()
        old = [hold_id for hold_id, renewed in self.open_tabs.items() if now - renewed > LEASE_S / 4]
        if old:
            self.open_tabs.update(dict.fromkeys(old, now))
            self.store.renew(old, LEASE_S)

    async def _make_room(self, tab: Tab, fitting: Fitting, denied: Denied, patience: "_Patience") -> None:
        """What can be done about a limit that does not suffice. Raises RefusedError where that is nothing."""
        scope = next(scope for scope in tab.scopes if scope.meter.id == denied.meter.id)
        if not denied.asked:
            tab.leave_out(scope)  # it is beyond its limit, and no candidate needs it
        elif scope.is_budget:
            await fitting.fit(scope, denied, self._now())
        else:
            is_first = scope.meter.id in patience.waited_for
            patience.waited_for.add(scope.meter.id)
            deadline, room = patience.deadline(scope), patience.room
            is_worth_it = await self.turns.wait(scope, denied, deadline, room, is_first=is_first)
            if not is_worth_it and not fitting.without(scope):
                raise refusals_money.rate_limited(scope, denied)


class _Patience:
    """How long one request waits for limits: by each as long as that says, from `began` on, in all until `until`.

    `room` is how many requests may wait at once; `waited_for` are the meters of whose queues it has been the first.
    """

    __slots__ = ("_began", "_until", "room", "waited_for")

    def __init__(self, began: float, until: float, runtime: Runtime) -> None:
        self._began = began
        self._until = until
        self.room = max(1, runtime.overload.max_in_flight // _WAITING_PART)
        self.waited_for: set[str] = set()

    def deadline(self, scope: Scope) -> float:
        return min(self._until, self._began + scope.wait_s)


def _first(scopes: Sequence[Scope]) -> Scope:
    """The one to name where no store can be asked: a budget, if there is one."""
    return next((scope for scope in scopes if scope.is_budget), scopes[0])
