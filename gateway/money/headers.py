"""What an answer's head says about limits and budgets."""

from math import ceil, isfinite

from gateway.money.tab import Tab
from gateway.wire.answers import usd
from policies.stores.base import Unit
from policies.windows import CalendarWindow, RollingWindow

BUDGET_HEADER = b"x-signalbox-budget"
# https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
_KINDS = {Unit.REQUESTS: "requests", Unit.TOKENS: "tokens"}


def rate_lines(tab: Tab) -> bytes:
    """`x-ratelimit-*` as OpenAI sends them: of each kind the limit with the smallest part left; empty without any.

    Until the reset all of it is free again: what was used just now leaves the window last, so that is its length.
    """
    tightest: dict[str, tuple[float, int, int, float]] = {}
    for scope, left in zip(tab.scopes, tab.left, strict=False):
        kind, limit, window = _KINDS.get(scope.meter.unit), scope.meter.limit, scope.meter.window
        if kind is None or not isinstance(window, RollingWindow):
            continue
        share = left / limit
        known = tightest.get(kind)
        if known is None or share < known[0]:
            tightest[kind] = (share, limit, left, window.length_s)
    lines = ""
    for kind, (_, limit, left, reset_s) in tightest.items():
        lines += (
            f"x-ratelimit-limit-{kind}: {limit}\r\nx-ratelimit-remaining-{kind}: {max(0, left)}\r\n"
            f"x-ratelimit-reset-{kind}: {duration(reset_s)}\r\n"
        )
    return lines.encode()


def budget_lines(tab: Tab, now_s: float) -> bytes:
    """`x-signalbox-budget` for a caller that asks: what is left beside all that is held, limit, seconds to reset."""
    items: list[str] = []
    for scope, left in zip(tab.scopes, tab.left, strict=False):
        if scope.meter.unit is Unit.NUSD:
            item = f"{scope.name};remaining_usd={usd(max(0, left))};limit_usd={usd(scope.meter.limit)}"
            window = scope.meter.window
            if isinstance(window, CalendarWindow):
                end_s = window.period(now_s).end_s
                item += f";reset_s={ceil(end_s - now_s)}" if isfinite(end_s) else ""
            items.append("".join(c if " " <= c <= "~" else "?" for c in item))
    return b"x-signalbox-budget: %b\r\n" % ", ".join(items).encode() if items else b""


def shortened_lines(tab: Tab) -> bytes:
    """That the gateway lowered `max_tokens` because the budget pays for no more."""
    cap = tab.worst.output_cap
    return b"" if cap is None else b"x-signalbox-max-tokens: %d\r\n" % cap


def duration(seconds: float) -> str:
    """As OpenAI writes it: `12ms`, `1s`, `6m0s`."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    whole = ceil(seconds)
    return f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"
