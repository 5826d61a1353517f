"""The configuration file as types: what may stand in it, with which defaults.

Models, not logic: whether names fit together is checked in `crosscheck`, after every section was read.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from config.schema_base import FileName, Name, Names, PositiveInt, ProviderName, Ratio, Section, TimeoutOverrides
from config.schema_feedback import FeedbackConfig
from config.schema_keys import AdminKeyConfig, KeyConfig
from config.schema_money import BudgetConfig, LimitConfig, TeamConfig
from config.schema_policies import PoliciesConfig
from config.schema_prices import PriceConfig
from config.schema_routes import RouteConfig, RuleConfig

# https://www.rfc-editor.org/rfc/rfc9110#name-tokens
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", max_length=200)]
Capability = Literal["text", "tools", "json_schema", "vision", "audio", "pdf", "reasoning", "streaming", "embeddings"]


def _check_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if scheme not in ("http", "https") or not separator or not rest.split("/", 1)[0]:
        raise ValueError("an address starts with http:// or https:// and a host")
    if any(c.isspace() for c in url):
        raise ValueError("an address has no blanks")
    return url


def _check_credential(text: str) -> str:
    """A key often comes with the line break of the file it was kept in; inside a header it would be an attack."""
    text = text.strip()
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError("a credential is printable ASCII text")
    return text


def _check_header_value(text: str) -> str:
    if not all(c.isprintable() for c in text) or not text.isascii():
        raise ValueError("a header's value is printable ASCII text")
    return text


class ProviderConfig(Section):
    """Who can be called. Keys beyond the ones here belong to the kind, which checks them; they are in `extra`."""

    model_config = ConfigDict(extra="allow")

    kind: Name = Field(description="What the provider speaks: a dialect or a vendor of the catalog.")
    api_key: Annotated[str, AfterValidator(_check_credential)] | None = Field(
        default=None, min_length=1, repr=False, description="The credential, as a reference like `$OPENAI_API_KEY`."
    )
    base_url: Annotated[str, AfterValidator(_check_url)] | None = Field(
        default=None, description="The address, where it is not the kind's usual one."
    )
    headers: dict[HeaderName, Annotated[str, AfterValidator(_check_header_value)]] = Field(
        default_factory=dict, repr=False, description="Headers sent with every call to this provider."
    )
    timeouts: TimeoutOverrides | None = Field(
        default=None, description="Time limits of this provider where they differ."
    )
    organization: str | None = Field(
        default=None, min_length=1, description="The organization that is billed, where the kind has one."
    )
    project: str | None = Field(
        default=None, min_length=1, description="The project that is billed, where the kind has one."
    )
    api_version: str | None = Field(
        default=None, min_length=1, description="The version of the provider's API, where the kind has one."
    )
    residency: Names | None = Field(
        default=None, description="Where the provider processes data, in words of your own: all places it may be."
    )

    @property
    def extra(self) -> Mapping[str, Any]:
        """What the kind needs beyond address, key and headers: kind-specific keys and the three optional ones above."""
        named = {key: getattr(self, key) for key in ("organization", "project", "api_version")}
        return {key: value for key, value in named.items() if value is not None} | (self.__pydantic_extra__ or {})

    def __repr_args__(self) -> Any:
        """Kind-specific keys may hold credentials, so only the named fields are shown."""
        return [("kind", self.kind), ("base_url", self.base_url)]


class DeploymentConfig(Section):
    """One model at one provider."""

    provider: ProviderName = Field(description="The provider that is called.")
    model: Annotated[str, StringConstraints(min_length=1, max_length=300)] = Field(
        description="The model's name at that provider."
    )
    weight: Annotated[float, Field(ge=0)] = Field(
        default=1, description="Share of the traffic relative to the others; 0 stands behind all others."
    )
    residency: Names | None = Field(
        default=None, description="Where this deployment processes data, instead of the provider's `residency`."
    )


class ModelConfig(Section):
    """A name that clients may ask for, and who can answer."""

    deployments: tuple[DeploymentConfig, ...] = Field(min_length=1, description="Who can answer; at least one.")
    price: PriceConfig | None = Field(default=None, description="Prices that override the catalog.")
    context_window: PositiveInt | None = Field(default=None, description="Tokens of input and output together at most.")
    max_output_tokens: PositiveInt | None = Field(default=None, description="Tokens of output at most.")
    capabilities: tuple[Capability, ...] | None = Field(
        default=None, description="What the model can do; where left out, nothing is ruled out."
    )
    streaming: bool = Field(default=True, description="Whether the model can stream its answers.")
    quality: Ratio | None = Field(
        default=None, description="Expected quality from 0 to 1 where nothing was learned yet."
    )
    prefill: bool | None = Field(
        default=None,
        description="Whether the model goes on with an answer that another began, as `on_stream_cut: continue` needs; "
        "known for some models where left out.",
    )
    budget: Name | None = Field(default=None, description="The budget that pays for every call of this model.")
    limits: Name | None = Field(default=None, description="The rate limits that hold for this model.")


class Config(Section):
    """The whole file."""

    providers: dict[ProviderName, ProviderConfig] = Field(default_factory=dict, description="Who can be called.")
    models: dict[Name, ModelConfig] = Field(
        default_factory=dict, description="Names a client may ask for; each has one or more deployments."
    )
    price_files: tuple[FileName, ...] = Field(
        default=(),
        description="JSON files of prices by model, as LiteLLM publishes them or with the keys of `price`. The first "
        "that has a model wins over the installed list; a model's own `price` wins over both.",
    )
    routes: dict[Name, RouteConfig] = Field(
        default_factory=dict, description="Virtual models: the gateway chooses the real one."
    )
    rules: tuple[RuleConfig, ...] = Field(
        default=(), description="The first match wins, before any strategy; unmatched requests go on as asked."
    )
    policies: PoliciesConfig = Field(
        default_factory=PoliciesConfig, description="Behaviour that holds for every request."
    )
    budgets: dict[Name, BudgetConfig] = Field(
        default_factory=dict, description="Amounts of money that can never be exceeded."
    )
    limits: dict[Name, LimitConfig] = Field(
        default_factory=dict, description="Rate limits that keys, teams, models and routes refer to."
    )
    teams: dict[Name, TeamConfig] = Field(default_factory=dict, description="What holds for several keys together.")
    keys: tuple[KeyConfig, ...] = Field(default=(), description="Virtual keys; without any the gateway is open.")
    admin_keys: tuple[AdminKeyConfig, ...] = Field(
        default=(), description="Keys of the admin API with roles, beside SIGNALBOX_ADMIN_KEY."
    )
    feedback: FeedbackConfig | None = Field(
        default=None, description="What callers say about answers, kept for training; nothing is where left out."
    )
