"""What all sections of the configuration file have in common: strictness, and the types that recur.

Every field carries a description: the reference documentation and the JSON Schema for editors are made from them.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

# A name is written in headers, metric labels and URLs: printable, without blanks, of bounded length.
Name = Annotated[str, StringConstraints(pattern=r"^[^\s\x00-\x1f\x7f]+$", max_length=200)]
# A provider's name stands before the slash of `provider/model`, so it has none itself.
ProviderName = Annotated[str, StringConstraints(pattern=r"^[^\s/\x00-\x1f\x7f]+$", max_length=100)]
# A path; the operating system has none with a NUL in it.
FileName = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]+$")]

Ratio = Annotated[float, Field(ge=0, le=1)]
PositiveSeconds = Annotated[float, Field(gt=0, le=86_400)]
Usd = Annotated[float, Field(ge=0)]
PositiveInt = Annotated[int, Field(gt=0)]
Strategy = Literal["complexity", "cheapest", "fastest", "weighted", "ordered", "balanced", "learned"]


class Section(BaseModel):
    """Base of every part of the file: unknown keys are errors, values are never changed after loading."""

    model_config = ConfigDict(
        extra="forbid",
        defer_build=True,
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=False,
    )


def _one_or_many(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, str) else value


# One name or a list of names; always a tuple once loaded.
Names = Annotated[
    tuple[Name, ...],
    Field(min_length=1),
    BeforeValidator(_one_or_many),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]


class RouteTimeouts(Section):
    """Time limits in seconds that replace the ones of `policies.timeouts`; a limit left out keeps its value."""

    ttft_s: PositiveSeconds | None = Field(default=None, description="Seconds until the first content arrives.")
    idle_s: PositiveSeconds | None = Field(
        default=None, description="Seconds of silence between two pieces of a stream."
    )
    total_s: PositiveSeconds | None = Field(
        default=None, description="Seconds for the whole request, all attempts included."
    )


class TimeoutOverrides(RouteTimeouts):
    """The same for a provider, whose connections have a limit of their own."""

    connect_s: PositiveSeconds | None = Field(default=None, description="Seconds for TCP and TLS set-up.")


class RetryOverrides(Section):
    """Retry settings that replace the ones of `policies.retry`; a setting left out keeps its value."""

    max_attempts: Annotated[int, Field(ge=1, le=20)] | None = Field(
        default=None, description="Upstream calls per request at most, the first one included."
    )
    backoff_base_s: PositiveSeconds | None = Field(
        default=None, description="Seconds before the first repeat at one deployment."
    )
    backoff_max_s: PositiveSeconds | None = Field(
        default=None, description="Longest pause between two attempts, in seconds."
    )
    budget_ratio: Ratio | None = Field(default=None, description="Extra attempts as a share of successful requests.")
