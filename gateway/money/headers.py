"""What an answer's head says about limits and budgets."""

from collections.abc import Mapping
from math import ceil, isfinite

from gateway.money.tab import Tab
from gateway.wire.answers import usd
from policies.stores.base import Unit
from policies.windows import CalendarWindow

BUDGET_HEADER = b"x-signalbox-budget"


def rate_lines(tab: Tab) -> bytes:
    """`x-ratelimit-*` as OpenAI sends them: of each kind the limit with the smallest part left; empty without any."""
    lines, lefts = b"", tab.left
    if len(lefts) < len(tab.scopes):
        return lines  # a store that could not say
    terms = tab.terms
    if terms.rate_lines is not None:
        left = terms.left_of_rates(lefts)
        if not left or min(left) >= 0:
            return terms.rate_lines % left
    for rates in terms.rates:
        tightest = rates[0] if len(rates) == 1 else min(rates, key=lambda rate: lefts[rate.at] / rate.limit)
        lines += b"%b%d%b" % (tightest.head, max(0, lefts[tightest.at]), tightest.tail)
    return lines


def budget_lines(tab: Tab, limits: Mapping[str, int], now_s: float) -> bytes:
    """`x-signalbox-budget` for a caller that asks: what is left beside all that is held, limit, seconds to reset.

    `limits` are those that hold now, by meter; where one is missing the configured one is told.
    """
    items: list[str] = []
    for scope, left in zip(tab.scopes, tab.left, strict=False):
        if scope.meter.unit is Unit.NUSD:
            limit = limits.get(scope.meter.id, scope.meter.limit)
            item = f"{scope.name};remaining_usd={usd(max(0, left))};limit_usd={usd(limit)}"
            window = scope.meter.window
            if isinstance(window, CalendarWindow):
                end_s = window.period(now_s).end_s
                item += f";reset_s={ceil(end_s - now_s)}" if isfinite(end_s) else ""
            items.append("".join(c if " " <= c <= "~" else "?" for c in item))
    return b"x-signalbox-budget: %b\r\n" % ", ".join(items).encode() if items else b""


def shortened_lines(output_cap: int) -> bytes:
    """That the gateway lowered `max_tokens` because the budget pays for no more."""
    return b"x-signalbox-max-tokens: %d\r\n" % output_cap
