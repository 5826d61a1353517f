"""Holds what a request may use of its budgets and limits before any call is made, or says why it may not be made."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.money.tab import Tab
from gateway.money.turns import Turns
from gateway.money.worst_case import COUNTED_KINDS, WorstCase, amounts
from gateway.runtime import Runtime
from gateway.wire import refusals_money
from gateway.wire.refusals import RefusedError
from policies.scopes import Scope
from policies.stores.base import Denied, Granted, Line, Store, Verdict
from providers.base import Request
from providers.tokens import count_prompt, is_inline
from routing.ask import Ask
from routing.decision import Decision, Deployment, Reason, Rejection

LEASE_S = 120.0  # after a crash, held money is free again, or charged, this much later
_MIN_ANSWER_TOKENS = 16  # a shorter answer is worth nothing to anybody


class Till:
    """One per process. `now` gives Unix seconds, `new_id` ids that no other process gives."""

    def __init__(
        self, store: Store, loop: asyncio.AbstractEventLoop, now: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self.store = store
        self.turns = Turns(loop)
        self.open_tabs: dict[str, float] = {}  # holds that are not settled, with the loop time of their last renewal
        self._loop = loop
        self._now = now
        self.new_id = new_id

    async def take(
        self, runtime: Runtime, scopes: Sequence[Scope], request: Request, ask: Ask, decision: Decision
    ) -> tuple[Tab, Decision]:
        """Hold the most that the request can use. The decision comes back without the candidates that are too dear.

        Raises RefusedError: 429 where a budget or limit does not suffice, 4xx where the request can never be paid for,
        503 where the store cannot say.
        """
        kinds = {one.provider: runtime.upstreams[one.provider].provider.kind for one in decision.candidates}
        worst = WorstCase(request, ask)
        tab = Tab(self.new_id(), scopes, worst, self.store, kinds)
        effort = _Effort(tab, request, decision, kinds)
        budget = next((scope for scope in scopes if scope.is_budget), None)
        if budget is not None:
            effort.drop_unpriced(budget)
            effort.drop_too_expensive()
        deadline = self._loop.time() + max(scope.wait_s for scope in scopes)
        waited_for = await self.turns.after_those_who_wait(
            [scope.meter.id for scope in scopes if scope.wait_s], deadline
        )
        self.open_tabs[tab.id] = self._loop.time()
        try:
            while True:
                verdict = await self._hold(tab, effort)
                if isinstance(verdict, Granted):
                    break
                if not isinstance(verdict, Denied):
                    raise refusals_money.store_unavailable(budget or scopes[0])
                scope = next(scope for scope in scopes if scope.meter.id == verdict.meter.id)
                if scope.is_budget:
                    await effort.fit(scope, verdict, self._now())
                else:
                    is_first = scope.meter.id in waited_for
                    waited_for.add(scope.meter.id)
                    if not await self.turns.wait(scope, verdict, deadline, is_first=is_first):
                        raise refusals_money.rate_limited(scope, verdict)
        except RefusedError:
            del self.open_tabs[tab.id]
            raise
        except BaseException:
            self.close(tab)  # whoever left while a shared store was asked may hold something
            tab.release()
            raise
        tab.left = verdict.left
        request.output_cap = effort.output_cap()
        return tab, effort.decision

    def close(self, tab: Tab) -> None:
        """The request is over, and its tab about to be settled: whoever waits for a place may try."""
        self.open_tabs.pop(tab.id, None)
        if self.turns.is_anybody_waiting:
            self.turns.freed([scope.meter.id for scope in tab.scopes if scope.meter.is_returned])

    def renew(self) -> None:
        """Tell the store which requests are still running; to be called a few times per lease."""
        now = self._loop.time()
        old = [hold_id for hold_id, renewed in self.open_tabs.items() if now - renewed > LEASE_S / 4]
        if old:
            self.open_tabs.update(dict.fromkeys(old, now))
            self.store.renew(old, LEASE_S)

    async def _hold(self, tab: Tab, effort: "_Effort") -> Verdict:
        candidates = effort.decision.candidates
        tab.held = amounts(tab.scopes, candidates, tab.worst, effort.costs())
        lines = [Line(scope.meter, amount) for scope, amount in zip(tab.scopes, tab.held, strict=True)]
        answer = self.store.hold(tab.id, lines, LEASE_S, is_dispatched=self.store.is_remote)
        return answer if isinstance(answer, Verdict) else await answer


class _Effort:
    """Making a request fit: a closer count, fewer candidates, a shorter answer."""

    def __init__(self, tab: Tab, request: Request, decision: Decision, kinds: dict[str, str]) -> None:
        self._tab = tab
        self._request = request
        self._kinds = kinds
        self.decision = decision

    def costs(self) -> list[int]:
        """The most that each candidate can cost; nothing where no budget asks."""
        return [self._cost(one) for one in self.decision.candidates]

    def output_cap(self) -> int | None:
        """The longest answer to ask for, in tokens per choice; None where nothing has to be said."""
        worst = self._tab.worst
        if worst.output_cap is not None or not worst.is_open_ended:
            return worst.output_cap
        if not any(scope.is_budget for scope in self._tab.scopes):
            return None
        return max(worst.output_of(one) for one in self.decision.candidates)

    def drop_unpriced(self, budget: Scope) -> None:
        """Take out candidates that nobody knows the price of. Raises RefusedError where none is left."""
        if not self._keep([one for one in self.decision.candidates if one.price is not None], Reason.UNPRICED):
            raise refusals_money.unpriced(self.decision.candidates[0].model, budget)

    def drop_too_expensive(self) -> None:
        """Take out candidates that cost more than one request may. Raises RefusedError where none is left."""
        for scope in self._tab.scopes:
            limit = scope.max_request_nusd
            if limit is None:
                continue
            if scope.is_shrinking and not self._within(scope, limit):
                self._shorten(scope, limit)
            if not self._keep(self._within(scope, limit), Reason.MAX_COST):
                least = min(self._cost(one) for one in self.decision.candidates)
                raise refusals_money.request_too_expensive(scope, least)

    async def fit(self, scope: Scope, denied: Denied, now_s: float) -> None:
        """Make the request smaller, one way at a time. Raises RefusedError (429) where nothing is left to try."""
        room = max(0, denied.limit - denied.spent - denied.held)
        if await self._count_closely():
            return
        fitting = self._within(scope, room)
        if fitting and len(fitting) < len(self.decision.candidates):
            self._keep(fitting, Reason.BUDGET)
            return
        if scope.is_shrinking and not fitting and self._shorten(scope, room):
            return
        raise refusals_money.budget_exhausted(scope, denied, now_s)

    async def _count_closely(self) -> bool:
        """Count the input by the provider's own tokenizer, once, where that is known. It costs time, so only now."""
        worst, request = self._tab.worst, self._request
        models = [one.target.model for one in self.decision.candidates if self._kinds[one.provider] in COUNTED_KINDS]
        if worst.counted is not None or not models:
            return False
        model = models[0]
        if is_inline(len(request.raw)):
            worst.counted = count_prompt(request.body, model)
        else:
            worst.counted = await asyncio.to_thread(count_prompt, request.body, model)
        return True

    def _within(self, scope: Scope, room_nusd: int) -> list[Deployment]:
        """The candidates that this scope does not count, or that cost no more than is left of it."""
        models = scope.models
        return [
            one
            for one in self.decision.candidates
            if (models is not None and one.model not in models) or self._cost(one) <= room_nusd
        ]

    def _shorten(self, scope: Scope, room_nusd: int) -> bool:
        """Ask for a shorter answer, as long as the rest pays for at the candidate where it is longest."""
        worst = self._tab.worst
        counted = [one for one in self.decision.candidates if scope.models is None or one.model in scope.models]
        caps = [worst.cap_for(one, self._kinds[one.provider], room_nusd) for one in counted]
        longest = max(caps, default=0)
        if longest < _MIN_ANSWER_TOKENS:
            return False
        worst.output_cap = longest
        return True

    def _cost(self, deployment: Deployment) -> int:
        return self._tab.worst.nusd(deployment, self._kinds[deployment.provider]) or 0

    def _keep(self, candidates: list[Deployment], reason: Reason) -> bool:
        if len(candidates) != len(self.decision.candidates) and candidates:
            gone = [Rejection(one, reason) for one in self.decision.candidates if one not in candidates]
            self.decision = replace(
                self.decision, candidates=tuple(candidates), rejections=(*self.decision.rejections, *gone)
            )
        return bool(candidates)
