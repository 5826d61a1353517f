"""Making a request fit what is left: a closer count, fewer candidates, a shorter answer."""

import asyncio
from dataclasses import replace

from gateway.money.tab import Tab
from gateway.wire import refusals_money
from policies.scopes import Scope
from policies.stores.base import Denied, Unit
from providers.base import Request
from providers.tokens import count_prompt, encoding_name
from routing.decision import Decision, Deployment, Reason, Rejection

_NUSD, _REQUESTS, _SLOTS = Unit.NUSD, Unit.REQUESTS, Unit.SLOTS  # a member is found by a call
_MIN_ANSWER_TOKENS = 16  # a shorter answer is worth nothing to anybody


class Fitting:
    """The candidates of one request and what they cost. `decision` loses those that cannot be paid for."""

    __slots__ = ("_costs", "_request", "_tab", "decision")

    def __init__(self, tab: Tab, request: Request, decision: Decision) -> None:
        self._tab = tab
        self._request = request
        self._costs: list[int] = []
        self.decision = decision

    def begin(self) -> None:
        """Take out candidates that can never be paid for. Raises RefusedError where none is left."""
        tab, candidates = self._tab, self.decision.candidates
        costs = []
        for one in candidates:
            cost = tab.worst.nusd(one)
            if cost is None:
                break
            costs.append(cost)
        if len(costs) < len(candidates):
            payable = [one for one in candidates if one.price is not None or self._payer(one) is None]
            if not self._keep(payable, Reason.UNPRICED):
                raise refusals_money.unpriced(candidates[0].model, self._payer(candidates[0]) or tab.scopes[0])
            self._measure()
        else:
            self._costs = costs
        for scope in tab.terms.capped:
            self._keep_affordable(scope, scope.max_request_nusd or 0)

    def amounts(self) -> list[int]:
        """What to hold of every scope, for whichever of the candidates will be called."""
        tab, costs, candidates = self._tab, self._costs, self.decision.candidates
        dearest = max(costs, default=0)
        found = []
        for scope in tab.scopes:
            unit, models = scope.meter.unit, scope.models
            if unit is _NUSD:
                amount = dearest if models is None else self._dearest(models)
            elif models is not None and not any(one.model in models for one in candidates):
                amount = 0
            elif unit is _REQUESTS or unit is _SLOTS:
                amount = 1
            else:
                amount = tab.worst.tokens(unit)
            found.append(amount)
        return found

    def _dearest(self, models: frozenset[str]) -> int:
        priced = zip(self._costs, self.decision.candidates, strict=True)
        return max((cost for cost, one in priced if one.model in models), default=0)

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

    def without(self, scope: Scope) -> bool:
        """Take out the candidates that a limit counts; False where there would be none left."""
        models = scope.models
        if models is None:
            return False
        return self._keep([one for one in self.decision.candidates if one.model not in models], Reason.BUDGET)

    def _payer(self, deployment: Deployment) -> Scope | None:
        """A budget that pays for calls of a deployment; None where none does."""
        for scope in self._tab.scopes:
            if scope.is_budget and (scope.models is None or deployment.model in scope.models):
                return scope
        return None

    def _keep_affordable(self, scope: Scope, limit_nusd: int) -> None:
        if scope.is_shrinking and not self._within(scope, limit_nusd):
            self._shorten(scope, limit_nusd)
        if not self._keep(self._within(scope, limit_nusd), Reason.MAX_COST):
            raise refusals_money.request_too_expensive(scope, min(self._costs))

    async def _count_closely(self) -> bool:
        """Count the input by the provider's own tokenizer, once, where that is known. It costs time, so only now."""
        worst, request = self._tab.worst, self._request
        if worst.counted is not None:
            return False
        models = [one.target.model for one in self.decision.candidates if worst.is_counted_exactly(one)]
        if not models:
            return False
        longest = 0
        for model in {encoding_name(model): model for model in models}.values():
            if self._tab.can_count(request, model):
                counted = count_prompt(request.body, model)
            else:
                counted = await asyncio.to_thread(count_prompt, request.body, model)
            longest = max(longest, counted)
        worst.counted = longest
        self._measure()
        return True

    def _within(self, scope: Scope, room_nusd: int) -> list[Deployment]:
        """The candidates that this scope does not count, or that cost no more than is left of it."""
        models = scope.models
        return [
            one
            for one, cost in zip(self.decision.candidates, self._costs, strict=True)
            if (models is not None and one.model not in models) or cost <= room_nusd
        ]

    def _shorten(self, scope: Scope, room_nusd: int) -> bool:
        """Ask for a shorter answer, as long as the rest pays for at the candidate where it is longest."""
        worst = self._tab.worst
        counted = [one for one in self.decision.candidates if scope.models is None or one.model in scope.models]
        longest = max((worst.cap_for(one, room_nusd) for one in counted), default=0)
        if longest < _MIN_ANSWER_TOKENS:
            return False
        worst.output_cap = longest
        self._measure()
        return True

    def _measure(self) -> None:
        self._costs = [self._tab.worst.nusd(one) or 0 for one in self.decision.candidates]

    def _keep(self, candidates: list[Deployment], reason: Reason) -> bool:
        if len(candidates) != len(self.decision.candidates) and candidates:
            gone = [Rejection(one, reason) for one in self.decision.candidates if one not in candidates]
            self.decision = replace(
                self.decision, candidates=tuple(candidates), rejections=(*self.decision.rejections, *gone)
            )
            if self._costs:
                self._measure()
        return bool(candidates)
