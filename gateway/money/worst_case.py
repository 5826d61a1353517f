"""The most that a request can use, before it is sent: what is held until its true usage is known."""

from collections.abc import Mapping

from gateway.runtime import Upstream
from policies.scopes import Scope
from policies.stores.base import Unit
from providers.base import Request
from providers.bounds import (
    CHOOSING,
    LIMITING,
    SEARCHING,
    TIERED,
    asked_tier,
    bound_prompt,
    choices_of,
    is_plain_text,
    max_answer_of,
    max_searches,
)
from routing.ask import USUAL_OUTPUT_TOKENS, Ask
from routing.decision import Deployment

# What an answer may have where neither the caller nor the configuration says; it is sent along, so that it holds.
UNSAID_OUTPUT_TOKENS = 32_768
_INPUT, _OUTPUT = Unit.INPUT_TOKENS, Unit.OUTPUT_TOKENS  # a member is found by a call
_COUNTED_KINDS = frozenset({"openai", "azure"})  # tiktoken counts for these as they do themselves
_COUNT_MARGIN = 16  # tokens by which framing may differ from what is published


class WorstCase:
    """Bounds for one request. Tokens of the input are at most its bytes, for any tokenizer there is.

    `counted` is a closer look: the tokens by OpenAI's own tokenizer, for deployments that use it; None until somebody
    counted. `output_cap` is the longest answer (tokens per choice) that the gateway will ask for; None: as the caller
    or the model has it. `upstreams` are the providers by name.
    """

    __slots__ = (
        "_ask",
        "_body",
        "_choices",
        "_given",
        "_input",
        "_is_generating",
        "_searches",
        "_tier",
        "_upstreams",
        "body_bytes",
        "counted",
        "is_open_ended",
        "output_cap",
    )

    def __init__(self, request: Request, ask: Ask, upstreams: Mapping[str, Upstream]) -> None:
        body = request.body
        self._ask = ask
        self._body = body
        self._upstreams = upstreams
        self.body_bytes = len(request.raw)
        self._input = -1  # worked out when money is asked for
        self._is_generating = request.operation != "embeddings"
        self._choices = 1 if CHOOSING.isdisjoint(body) else choices_of(body)
        self._given = None if LIMITING.isdisjoint(body) else max_answer_of(body)
        self.is_open_ended = self._is_generating and self._given is None  # the caller leaves the length to the model
        self._tier: str | None = None
        self._searches = 0
        self.counted: int | None = None
        self.output_cap: int | None = None

    def output_of(self, deployment: Deployment) -> int:
        """Tokens per choice that the deployment may write at most."""
        if not self._is_generating:
            return 0
        most = self._given or deployment.target.max_output_tokens or UNSAID_OUTPUT_TOKENS
        return most if self.output_cap is None else min(most, self.output_cap)

    def is_counted_exactly(self, deployment: Deployment) -> bool:
        """Whether our own tokenizer counts as its provider does: for text, at OpenAI and Azure. How images, files and
        tools are shown to a model is theirs to know, so there the bound stays.
        """
        return self._upstreams[deployment.provider].provider.kind in _COUNTED_KINDS and is_plain_text(self._body)

    def nusd(self, deployment: Deployment, *, more_input: int = 0) -> int | None:
        """Nano-dollars that a call of this deployment can cost; None where nobody knows its price.

        `more_input` are bytes that it sends beyond the request as it came.
        """
        price, target = deployment.price, deployment.target
        if price is None:
            return None
        if self._input < 0:
            body = self._body
            self._input = bound_prompt(body)
            if not TIERED.isdisjoint(body):
                self._tier = asked_tier(body)
            if not body.keys().isdisjoint(SEARCHING):
                self._searches = max_searches(body)
        tokens, window = self._input, target.context_window
        if self.counted is not None and self.is_counted_exactly(deployment):
            tokens = min(tokens, self.counted + _COUNT_MARGIN)
        tokens += more_input
        if window is not None and window < tokens:
            tokens = window  # the provider refuses more
        output = self.output_of(deployment) * self._choices
        return price.worst_nusd(tokens, output, asked_tier=self._tier, searches=self._searches)

    def cap_for(self, deployment: Deployment, room_nusd: int) -> int:
        """The longest answer (tokens per choice) that `room_nusd` pays for at this deployment; 0 where none."""
        before, self.output_cap = self.output_cap, None
        low, high = 0, self.output_of(deployment)
        if before is not None:
            high = min(high, before)
        while low < high:  # cost grows with length, so the border is found by halves
            self.output_cap = middle = (low + high + 1) // 2
            cost = self.nusd(deployment)
            low, high = (middle, high) if cost is not None and cost <= room_nusd else (low, middle - 1)
        self.output_cap = before
        return low

    def tokens(self, unit: Unit) -> int:
        """What counts for a rate: the estimated input, and the output that was asked for, or else is usual."""
        output = 0
        if self._is_generating and unit is not _INPUT:
            said = self._given or USUAL_OUTPUT_TOKENS
            output = (said if self.output_cap is None else min(said, self.output_cap)) * self._choices
        return output if unit is _OUTPUT else self._ask.input_tokens() + output

    def all_tokens(self) -> tuple[int, int, int]:
        """What counts for rates of the input, of the output, and of both."""
        output = self.tokens(_OUTPUT)
        estimated = self._ask.input_tokens()
        return estimated, output, estimated + output

    def needed(self, scope: Scope, deployment: Deployment, *, more_input: int = 0) -> int | None:
        """What one call of a deployment takes from a scope; None where nobody knows its price."""
        unit = scope.meter.unit
        if scope.models is not None and deployment.model not in scope.models:
            return 0
        if unit is Unit.NUSD:
            return self.nusd(deployment, more_input=more_input)
        return 1 if unit in (Unit.REQUESTS, Unit.SLOTS) else self.tokens(unit)
