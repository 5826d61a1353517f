"""What one request holds of its budgets and limits, from the first look to the settlement."""

from collections.abc import Mapping, Sequence

from gateway.money.worst_case import WorstCase
from policies.ledger import Entry
from policies.outcome import Attempt, Outcome
from policies.scopes import Scope
from policies.stores.base import Granted, Settlement, Store, Unit, Verdict
from routing.decision import Deployment


class Tab:
    """The hold of one request. `held` are the amounts of its scopes, in their order; `id` is the hold's."""

    __slots__ = ("_is_sent", "_kinds", "_store", "held", "id", "left", "scopes", "sent_bytes", "worst")

    def __init__(
        self,
        hold_id: str,
        scopes: Sequence[Scope],
        worst: WorstCase,
        store: Store,
        kinds: Mapping[str, str],
    ) -> None:
        self.id = hold_id
        self.scopes = scopes
        self.worst = worst
        self.sent_bytes = worst.body_bytes
        self.held: list[int] = []
        self.left: tuple[int, ...] = ()  # of every scope, right after the hold
        self._store = store
        self._kinds = kinds
        self._is_sent = False

    def send(self) -> None:
        """A call is about to be made: from now on the provider may charge for it."""
        if not self._is_sent:
            self._is_sent = True
            self._store.dispatched(self.id)

    async def covers(self, deployment: Deployment, attempts: Sequence[Attempt], *, more_input: int = 0) -> bool:
        """Whether one more call is paid for beside those made before, after holding more where that is needed.

        `more_input` are bytes that it sends beyond the request as it came.

        False also where the store cannot say: then the request ends with what it has.
        """
        missing = []
        for scope, held in zip(self.scopes, self.held, strict=True):
            needed = held
            if scope.meter.unit is Unit.NUSD:
                needed = self._at_most(deployment, scope, more_input)
                for attempt in attempts:
                    needed += self._cost_of(attempt, scope)
            missing.append(max(0, needed - held))
        if not any(missing):
            return True
        answer = self._store.extend(self.id, missing)
        verdict: Verdict = answer if isinstance(answer, Verdict) else await answer
        if not isinstance(verdict, Granted):
            return False
        self.held = [held + more for held, more in zip(self.held, missing, strict=True)]
        return True

    def settle(self, outcome: Outcome, entries: Sequence[Entry]) -> None:
        """Charge what was used. Synchronous: no cancellation comes between."""
        self._store.settle(Settlement(self.id, [_used(scope, outcome) for scope in self.scopes], entries))

    def release(self) -> None:
        """Nothing was used."""
        self._store.settle(Settlement(self.id, [0] * len(self.scopes)))

    def _at_most(self, deployment: Deployment, scope: Scope, more_input: int = 0) -> int:
        if scope.models is not None and deployment.model not in scope.models:
            return 0
        return self.worst.nusd(deployment, self._kinds.get(deployment.provider, ""), more_input=more_input) or 0

    def _cost_of(self, attempt: Attempt, scope: Scope) -> int:
        """What a call cost; while it runs, what it can cost."""
        if not attempt.ended:
            return self._at_most(attempt.deployment, scope)
        if scope.models is not None and attempt.deployment.model not in scope.models:
            return 0
        return attempt.cost_nusd or 0


def _used(scope: Scope, outcome: Outcome) -> int:
    """What a request used of a scope, over all its calls."""
    unit = scope.meter.unit
    total = 0
    for attempt in outcome.attempts:
        if scope.models is not None and attempt.deployment.model not in scope.models:
            continue
        usage = attempt.usage
        if unit is Unit.NUSD:
            total += attempt.cost_nusd or 0
        elif unit is Unit.REQUESTS:
            return 1
        elif usage is not None:
            if unit is not Unit.OUTPUT_TOKENS:
                total += usage.prompt_tokens if scope.counts_cached else usage.prompt_tokens - usage.cache_read
            if unit is not Unit.INPUT_TOKENS:
                total += usage.completion_tokens
    return total
