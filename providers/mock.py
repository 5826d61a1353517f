"""A provider without a network: deterministic answers with realistic token counts and pacing, for trying things out.

It needs no key and speaks OpenAI's dialect, so everything above it is exercised as with a real upstream. Instead of
HTTP it brings its own `transport`. Models named like a failure (`429`, `stall`, `cut-stream`; see `MISBEHAVIOURS`)
misbehave on demand, with or without a prefix as in `mock/429`; every other name answers.
"""

import time
from collections.abc import Callable
from typing import Any

from providers._mock_script import MISBEHAVIOURS, Pace
from providers._mock_transport import MockTransport, Sleep
from providers.base import OptionError, ProviderOptions
from providers.openai import OpenAI

__all__ = ["KIND", "MISBEHAVIOURS", "OPTIONS", "Mock", "build"]

KIND = "mock"

# `.invalid` never resolves (RFC 2606): should the address ever reach a real client, nothing leaves the machine.
_ADDRESS = "http://mock.invalid/v1"
_SECONDS = ("ttft_s", "tpot_s", "slow_s", "retry_after_s")
OPTIONS = (*_SECONDS, "pace", "length", "fault")


class Mock(OpenAI):
    """The OpenAI dialect, and a transport that answers by itself."""

    def __init__(self, options: ProviderOptions, transport: MockTransport) -> None:
        super().__init__(options, base_url=_ADDRESS, headers={})
        self.transport = transport


def build(options: ProviderOptions, *, sleep: Sleep | None = None, clock: Callable[[], float] = time.time) -> Mock:
    """The mock for one row of the configuration. Raises ValueError for an option it cannot use.

    Options, all optional: `ttft_s` (0.03) and `tpot_s` (0.003), median seconds to the first token and for each further
    one; `pace: false` to answer at once; `slow_s` (5), the wait of model `slow`; `retry_after_s` (2); `length`, a fixed
    number of tokens for plain texts; `fault`, a misbehaviour that every model of this provider then shows.
    """
    fault = options.extra.get("fault")
    if fault is not None and fault not in MISBEHAVIOURS:
        raise OptionError(options.name, "fault", f"must be one of {', '.join(MISBEHAVIOURS)}")
    return Mock(options, MockTransport(_pace(options), sleep=sleep, clock=clock, fault=fault))


def _pace(options: ProviderOptions) -> Pace:
    given: dict[str, Any] = dict(options.extra)
    for key, value in given.items():
        if key not in OPTIONS:
            known = ", ".join(OPTIONS)
            raise OptionError(options.name, key, f"is not known to the mock provider; it has {known}")
        if key in _SECONDS and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6):
            raise OptionError(options.name, key, "must be a number of seconds, 0 or more")
    length = given.get("length")
    if length is not None and (isinstance(length, bool) or not isinstance(length, int) or not 1 <= length <= 100_000):
        raise OptionError(options.name, "length", "must be a whole number of tokens from 1 to 100000")
    if not isinstance(given.get("pace", True), bool):
        raise OptionError(options.name, "pace", "must be true or false")
    return Pace(is_on=given.get("pace", True), length=length, **{key: given[key] for key in _SECONDS if key in given})
