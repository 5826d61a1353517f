"""The nouns of routing: what can be called, what was chosen, in which order, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from providers.base import Target
from providers.pricing import Price
from routing.classifier import Classification


class Reason(StrEnum):
    """Why a deployment is no candidate; a closed set."""

    DISABLED = "disabled"  # its provider has no usable credentials
    NOT_ALLOWED = "not_allowed"  # the caller's key does not allow the model
    EXCLUDED = "excluded"  # the request itself left it out
    CONTEXT_WINDOW = "context_window"  # input and output do not fit
    OUTPUT_LIMIT = "output_limit"  # it cannot write as much as the request asks for
    NO_TEXT = "no_text"
    NO_TOOLS = "no_tools"
    NO_VISION = "no_vision"
    NO_AUDIO = "no_audio"
    NO_PDF = "no_pdf"
    NO_JSON_SCHEMA = "no_json_schema"
    NO_REASONING = "no_reasoning"
    NO_STREAMING = "no_streaming"
    NO_EMBEDDINGS = "no_embeddings"
    RESIDENCY = "residency"  # it does not run where the data has to stay
    TIER_FLOOR = "tier_floor"  # its tier is below the lowest one allowed
    UNPRICED = "unpriced"  # a cost limit holds, and nobody knows its price
    MAX_COST = "max_cost"  # the request would cost more than it may
    MAX_PRICE = "max_price"  # its price per token is above the ceiling
    MAX_TTFT = "max_ttft"  # its first content is expected too late
    BREAKER_OPEN = "breaker_open"  # it failed lately
    THROTTLED = "throttled"  # its provider asked for a pause
    BUDGET = "budget"  # a budget that would pay, or a limit of the model, is used up


@dataclass(slots=True, frozen=True, eq=False)
class Deployment:
    """One model at one provider. `id` is `provider/model` and stable across reloads; `model` is the public name.

    Each is equal to itself alone: comparing prices and targets would cost more than most decisions.

    `label` names it in metrics: the id, or `provider/*` for names that callers make up.
    """

    id: str
    label: str
    model: str
    provider: str
    target: Target
    price: Price | None
    weight: float = 1.0
    quality: float | None = None
    header: bytes = b""  # the id as header text
    residency: frozenset[str] = frozenset()  # where it runs, in the operator's words


@dataclass(slots=True, frozen=True)
class Rejection:
    """A deployment that was left out, and the reason."""

    deployment: Deployment
    reason: Reason


@dataclass(slots=True)
class Estimate:
    """What is expected of a model for one request: quality 0..1, nano-dollars, seconds to the end of the answer.

    `utility` is what a strategy made of them; None means unknown.
    """

    quality: float | None = None
    cost_nusd: int | None = None
    latency_s: float | None = None
    utility: float | None = None


@dataclass(slots=True)
class Decision:
    """Ordered candidates with the why. `asked` is a closed-set label for the requested name.

    `summary` is an RFC 8941 item with parameters: the strategy, and what it decided on. `rule` is the name of the rule
    that matched. `estimates` are by model, as far as the strategy needed them. `session` is set where later turns
    should come back to the same model; `is_stay` tells that this one did. `mirror` is a model that gets a copy, on
    behalf of `mirror_route`.
    """

    asked: str
    strategy: str
    candidates: tuple[Deployment, ...]
    rejections: tuple[Rejection, ...] = ()
    route: str | None = None
    tier: str | None = None
    summary: str = ""
    rule: str | None = None
    classification: Classification | None = None
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    router_version: str | None = None
    shadow: str | None = None
    session: bytes | None = None
    is_stay: bool = False
    arm: str | None = None
    mirror: str | None = None
    mirror_route: str | None = None
    application: str = ""
    relaxed: tuple[str, ...] = ()


def summarise(strategy: str, **parameters: str | None) -> str:
    """The summary of a decision; parameters that are None are left out."""
    item = strategy
    for name, value in parameters.items():
        if value is not None:
            item += f";{name}={sf_value(value)}"
    return item


def sf_value(text: str) -> str:
    """`text` as an RFC 8941 bare item: a token where its syntax allows, else a string, percent-encoding beyond
    ASCII.
    """
    is_token = bool(text) and (text[0].isalpha() or text[0] == "*") and text.isascii()
    if is_token and all(c.isalnum() or c in "!#$%&'*+-.^_`|~:/" for c in text):
        return text
    safe = "".join(
        c if " " <= c <= "~" else "".join(f"%{b:02x}" for b in c.encode("utf-8", "surrogatepass")) for c in text
    )
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'


def header_text(text: str) -> bytes:
    """Printable ASCII for a header value: names may come from a caller."""
    return "".join(c if " " <= c <= "~" else "?" for c in text).encode()
