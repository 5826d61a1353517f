"""The sections about money and rates: budgets, limits and teams."""

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, model_validator

from config.schema_base import Name, Names, PositiveInt, Ratio, Section, Usd
from config.spans import span_s

_CALENDAR = ("minute", "hour", "day", "week", "month", "total")
_ROLLING = r"rolling [1-9][0-9]{0,4}[smhd]"  # `rolling 30m`: the last thirty minutes at any moment


def _check_window(text: str) -> str:
    if text not in _CALENDAR and not re.fullmatch(_ROLLING, text):
        raise ValueError(f"a window is one of {', '.join(_CALENDAR)}, or 'rolling' with a length as in 'rolling 24h'")
    return text


_WindowName = Annotated[
    str,
    AfterValidator(_check_window),
    WithJsonSchema({"anyOf": [{"enum": list(_CALENDAR)}, {"type": "string", "pattern": f"^{_ROLLING}$"}]}),
]


def rolling_s(window: str) -> float | None:
    """Seconds of a rolling window as it is written; None for a calendar window."""
    return span_s(window.removeprefix("rolling "))


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("there is no such time zone; names look like 'UTC' or 'Europe/Berlin'") from None
    return name


class SoftAction(Section):
    """What changes once a budget's soft limit is reached. The response header that says so is always sent."""

    route: Name | None = Field(default=None, description="The route whose requests are moved; with `to`.")
    to: Name | None = Field(default=None, description="The route or model that takes them; with `route`.")
    webhook: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+")] | None = Field(
        default=None, description="The address that is told once per window, as a JSON object by POST."
    )

    @model_validator(mode="after")
    def _together(self) -> "SoftAction":
        if (self.route is None) != (self.to is None):
            raise ValueError("'route' and 'to' belong together")
        if self.route is None and self.webhook is None:
            raise ValueError("give 'route' and 'to', or 'webhook'")
        return self


class BudgetConfig(Section):
    """An amount of money per window. What is admitted can never exceed it."""

    limit_usd: Usd = Field(description="US dollars that may be spent in one window.")
    window: _WindowName = Field(
        default="month",
        description="The calendar window after which spending starts from zero (`total` never ends), or `rolling 24h` "
        "for the last so many seconds, minutes, hours or days (`s`, `m`, `h`, `d`).",
    )
    time_zone: Annotated[str, AfterValidator(_check_zone)] = Field(
        default="UTC", description="The time zone in which calendar windows begin, as `Europe/Berlin`."
    )
    parent: Name | None = Field(default=None, description="The budget that pays as well; its limit holds too.")
    each_key: bool = Field(default=False, description="Whether every key has this amount for itself.")
    tags: Names | None = Field(
        default=None, description="Requests with one of these tags pay from this budget, whatever their key."
    )
    max_request_usd: Usd | None = Field(default=None, description="US dollars that one request may cost at most.")
    carry_over_usd: Usd = Field(
        default=0, description="US dollars that a calendar window may leave to the next one at most."
    )
    shrink_answers: bool = Field(
        default=False,
        description="Whether `max_tokens` is lowered where the rest of the budget does not pay for a longer answer.",
    )
    soft_ratio: Ratio = Field(default=0.8, description="Share of the limit from which `on_soft` applies.")
    on_soft: SoftAction | None = Field(default=None, description="What changes from the soft limit on.")
    on_store_error: Literal["deny", "allow_with_local_cap"] = Field(
        default="deny", description="What happens while the store of the spend cannot be reached."
    )

    @model_validator(mode="after")
    def _carries_by_calendar(self) -> "BudgetConfig":
        if self.carry_over_usd and (self.window == "total" or rolling_s(self.window) is not None):
            raise ValueError("'carry_over_usd' needs a calendar window that ends")
        return self


class LimitConfig(Section):
    """Rate limits of the keys, teams, models and routes that name them. A limit left out does not exist.

    Minutes are rolling ones: the last 60 seconds at any moment.
    """

    requests_per_minute: PositiveInt | None = Field(default=None, description="Requests per minute.")
    tokens_per_minute: PositiveInt | None = Field(
        default=None, description="Tokens per minute, input and output together."
    )
    input_tokens_per_minute: PositiveInt | None = Field(default=None, description="Input tokens per minute.")
    output_tokens_per_minute: PositiveInt | None = Field(default=None, description="Output tokens per minute.")
    concurrency: PositiveInt | None = Field(default=None, description="Requests served at the same time.")
    count_cached: bool = Field(
        default=True, description="Whether input tokens that the provider read from its prompt cache count."
    )
    wait_s: Annotated[float, Field(ge=0, le=60)] = Field(
        default=0, description="Seconds a request may wait for the limit to allow it, in the order of arrival."
    )


class TeamConfig(Section):
    """What holds for several keys together."""

    parent: Name | None = Field(default=None, description="The team that this one belongs to; its limits hold too.")
    budget: Name | None = Field(default=None, description="The budget that pays.")
    limits: Name | None = Field(default=None, description="The rate limits that hold for all its keys together.")
    models: tuple[Name, ...] | None = Field(
        default=None, description="Models and routes its keys may ask for; all of them where left out."
    )
    tags: Names | None = Field(default=None, description="Tags that every request of its keys carries.")
