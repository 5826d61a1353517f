"""The most that a request can use, before it is sent: what is held until its true usage is known."""

from collections.abc import Iterable, Sequence

from policies.scopes import Scope
from policies.stores.base import Unit
from providers.base import Request
from providers.bounds import asked_tier, bound_prompt, max_output_of, max_searches
from routing.ask import USUAL_OUTPUT_TOKENS, Ask
from routing.decision import Deployment

# What an answer may have where neither the caller nor the configuration says; it is sent along, so that it holds.
UNSAID_OUTPUT_TOKENS = 32_768
COUNTED_KINDS = frozenset({"openai", "azure"})  # tiktoken counts for these as they do themselves
_CHOICES = ("n", "best_of", "prompt")
_COUNT_MARGIN = 16  # tokens by which framing may differ from what is published


class WorstCase:
    """Bounds for one request. Tokens of the input are at most its bytes, for any tokenizer there is.

    `counted` is a closer look: the tokens by OpenAI's own tokenizer, for deployments that use it; None until somebody
    counted. `output_cap` is the longest answer (tokens per choice) that the gateway will ask for; None: as the caller
    or the model has it.
    """

    __slots__ = (
        "_ask",
        "_choices",
        "_given",
        "_input",
        "_is_generating",
        "_searches",
        "_tier",
        "body_bytes",
        "counted",
        "output_cap",
    )

    def __init__(self, request: Request, ask: Ask) -> None:
        body = request.body
        self._ask = ask
        self.body_bytes = len(request.raw)
        self._input = bound_prompt(body)
        self._is_generating = request.operation != "embeddings"
        # One token per choice comes back as the number of choices.
        self._choices = max_output_of({**{name: body.get(name) for name in _CHOICES}, "max_tokens": 1}) or 1
        given = max_output_of(body)
        self._given = None if given is None else given // self._choices
        self._tier = asked_tier(body)
        self._searches = max_searches(body)
        self.counted: int | None = None
        self.output_cap: int | None = None

    @property
    def is_open_ended(self) -> bool:
        """Whether the caller leaves the length of the answer to the model."""
        return self._is_generating and self._given is None

    def output_of(self, deployment: Deployment) -> int:
        """Tokens per choice that the deployment may write at most."""
        if not self._is_generating:
            return 0
        most = self._given or deployment.target.max_output_tokens or UNSAID_OUTPUT_TOKENS
        return most if self.output_cap is None else min(most, self.output_cap)

    def nusd(self, deployment: Deployment, kind: str, *, more_input: int = 0) -> int | None:
        """Nano-dollars that a call of this deployment can cost; None where nobody knows its price.

        `kind` is its provider's; `more_input` are bytes that it sends beyond the request as it came.
        """
        price = deployment.price
        if price is None:
            return None
        tokens, window = self._input, deployment.target.context_window
        if self.counted is not None and kind in COUNTED_KINDS:
            tokens = min(tokens, self.counted + _COUNT_MARGIN)
        tokens += more_input
        if window is not None:
            tokens = min(tokens, window)  # the provider refuses more
        output = self.output_of(deployment) * self._choices
        return price.worst_nusd(tokens, output, asked_tier=self._tier, searches=self._searches)

    def cap_for(self, deployment: Deployment, kind: str, room_nusd: int) -> int:
        """The longest answer (tokens per choice) that `room_nusd` pays for at this deployment; 0 where none."""
        before, self.output_cap = self.output_cap, None
        low, high = 0, self.output_of(deployment)
        while low < high:  # cost grows with length, so the border is found by halves
            self.output_cap = middle = (low + high + 1) // 2
            cost = self.nusd(deployment, kind)
            low, high = (middle, high) if cost is not None and cost <= room_nusd else (low, middle - 1)
        self.output_cap = before
        return low

    def tokens(self, unit: Unit, candidates: Iterable[Deployment]) -> int:
        """What counts for a rate: the estimated input, and the output that was asked for, or else is usual."""
        said = self._given or USUAL_OUTPUT_TOKENS
        if self.output_cap is not None:
            said = min(said, self.output_cap)
        output = said * self._choices if self._is_generating and any(True for _ in candidates) else 0
        if unit is Unit.OUTPUT_TOKENS:
            return output
        return self._ask.input_tokens() + (output if unit is Unit.TOKENS else 0)


def amounts(
    scopes: Sequence[Scope], candidates: Sequence[Deployment], worst: WorstCase, costs: Sequence[int]
) -> list[int]:
    """What to hold of every scope, for whichever of the candidates will be called; `costs` are theirs, in order."""
    found = []
    for scope in scopes:
        unit, models = scope.meter.unit, scope.models
        if unit is Unit.NUSD:
            if models is None:
                amount = max(costs)
            else:
                both = zip(costs, candidates, strict=True)
                amount = max((cost for cost, one in both if one.model in models), default=0)
        elif models is not None and not any(one.model in models for one in candidates):
            amount = 0
        elif unit in (Unit.REQUESTS, Unit.SLOTS):
            amount = 1
        else:
            amount = worst.tokens(unit, candidates)
        found.append(amount)
    return found
