"""What one request holds of its budgets and limits, from the first look to the settlement."""

from collections.abc import Sequence

from gateway.money.terms import Terms
from gateway.money.worst_case import WorstCase
from policies.ledger import Entry
from policies.outcome import Attempt, Outcome
from policies.scopes import Scope
from policies.stores.base import Granted, Settlement, Store, Unit, Verdict
from providers.base import Request
from providers.tokens import EncodingName, count_prompt, encoding_name, estimate_prompt, is_inline
from routing.decision import Deployment

# A member of an enumeration is found by a call: too much for what is asked so often.
_NUSD, _REQUESTS, _SLOTS, _INPUT, _OUTPUT = (
    Unit.NUSD,
    Unit.REQUESTS,
    Unit.SLOTS,
    Unit.INPUT_TOKENS,
    Unit.OUTPUT_TOKENS,
)


class Tab:
    """The hold of one request. `held` are the amounts of its scopes, in their order; `id` is the hold's.

    `closed_models` are those that may not be called, because what they have of their own cannot be held.
    `encodings` are those of tokens that are loaded.
    """

    __slots__ = (
        "_is_sent",
        "_store",
        "closed_models",
        "encodings",
        "held",
        "id",
        "left",
        "scopes",
        "terms",
        "worst",
    )

    def __init__(
        self, hold_id: str, terms: Terms, worst: WorstCase, store: Store, encodings: frozenset[EncodingName]
    ) -> None:
        self.id = hold_id
        self.terms = terms
        self.scopes = terms.scopes
        self.worst = worst
        self.encodings = encodings
        self.held: Sequence[int] = ()
        self.left: tuple[int, ...] = ()  # of every scope, right after the hold
        self.closed_models: frozenset[str] = frozenset()
        self._store = store
        self._is_sent = False

    def leave_out(self, scope: Scope) -> None:
        """Hold nothing of a scope that none of the candidates needs: no other call may then need it."""
        self.terms = Terms([one for one in self.scopes if one is not scope])
        self.scopes = self.terms.scopes
        self.closed_models |= scope.models or frozenset()

    def send(self) -> None:
        """A call is about to be made: from now on the provider may charge for it."""
        if not self._is_sent:
            self._is_sent = True
            self._store.dispatched(self.id)

    def output_cap(self, deployment: Deployment) -> int | None:
        """The longest answer (tokens per choice) to ask this deployment for; None where nothing has to be said."""
        worst = self.worst
        if worst.output_cap is None and not (self.terms.has_budget and worst.is_open_ended):
            return None
        return worst.output_of(deployment)

    async def covers(self, deployment: Deployment, attempts: Sequence[Attempt], *, more_input: int = 0) -> bool:
        """Whether one more call is paid for beside those made before, after holding more where that is needed.

        `more_input` are bytes that it sends beyond the request as it came. False also where the store cannot say: then
        the request ends with what it has.
        """
        if deployment.model in self.closed_models:
            return False
        missing = []
        for scope, held in zip(self.scopes, self.held, strict=True):
            needed = self.worst.needed(scope, deployment, more_input=more_input)
            if needed is None:
                return False  # nobody knows its price
            if scope.meter.unit is _NUSD:
                needed += sum(self._cost_of(attempt, scope) for attempt in attempts)
                if scope.max_request_nusd is not None and needed > scope.max_request_nusd:
                    return False
            elif held:
                needed = held  # a request counts once
            missing.append(max(0, needed - held))
        if not any(missing):
            return True
        answer = self._store.extend(self.id, missing)
        verdict: Verdict = answer if isinstance(answer, Verdict) else await answer
        if not isinstance(verdict, Granted):
            return False
        self.held = [held + more for held, more in zip(self.held, missing, strict=True)]
        return True

    def can_count(self, request: Request, model: str) -> bool:
        """Whether a prompt can be counted within milliseconds, by the tokenizer of the model or one like it."""
        return is_inline(len(request.raw)) and encoding_name(model) in self.encodings

    def count_input(self, request: Request, model: str) -> int:
        """The tokens of a prompt. Synchronous, because a request that is cut is settled at once."""
        if self.can_count(request, model):
            return count_prompt(request.body, model)
        return estimate_prompt(request.body)

    def settle(self, outcome: Outcome, entries: Sequence[Entry]) -> None:
        """Charge what was used. Synchronous: no cancellation comes between."""
        terms, attempts = self.terms, outcome.attempts
        is_usual = terms.is_plain and len(attempts) == 1
        amounts = _used_by(attempts[0], terms) if is_usual else used(self.scopes, attempts)
        self._store.settle(Settlement(self.id, amounts, entries))

    def release(self) -> None:
        """Nothing was used."""
        self._store.settle(Settlement(self.id, [0] * len(self.scopes)))

    def _cost_of(self, attempt: Attempt, scope: Scope) -> int:
        """What a call cost; while it runs, what it can cost."""
        if not attempt.ended:
            return self.worst.needed(scope, attempt.deployment) or 0
        if scope.models is not None and attempt.deployment.model not in scope.models:
            return 0
        return attempt.cost_nusd or 0


def _used_by(attempt: Attempt, terms: Terms) -> Sequence[int]:
    """`used`, where one call counts for every scope."""
    of_input = of_output = 0
    usage = attempt.usage
    if usage is not None and terms.counts_tokens:
        of_input, of_output = usage.prompt_tokens, usage.completion_tokens
    return terms.pick((attempt.cost_nusd or 0, 1, of_input, of_output, of_input + of_output))


def used(scopes: Sequence[Scope], attempts: Sequence[Attempt]) -> list[int]:
    """What a request used of each of its scopes, over all its calls."""
    found = []
    for scope in scopes:
        unit, models, total = scope.meter.unit, scope.models, 0
        for attempt in attempts:
            if models is not None and attempt.deployment.model not in models:
                continue
            usage = attempt.usage
            if unit is _NUSD:
                total += attempt.cost_nusd or 0
            elif unit is _REQUESTS or unit is _SLOTS:
                total = 1
            elif usage is not None:
                if unit is not _OUTPUT:
                    total += usage.prompt_tokens if scope.counts_cached else usage.prompt_tokens - usage.cache_read
                if unit is not _INPUT:
                    total += usage.completion_tokens
        found.append(total)
    return found
