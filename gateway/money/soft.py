"""What happens before a budget is used up: a header, another route for the caller, a message to the operator."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from math import inf
from operator import ge
from typing import Any

from gateway.money.tab import Tab
from gateway.telemetry.logs import Logger
from policies.scopes import Scope
from policies.stores.base import Granted, Meter, Settlement, Store, Unavailable, Unit, Verdict
from policies.windows import Calendar, CalendarWindow, RollingWindow, Window

_WEBHOOK_S = 5.0
_ASK_AGAIN_S, _ASKED_AT_MOST = 0.5, 20  # a store that is away for longer keeps nobody from telling
_DAY_S = 86_400.0
_SOONER = 0.99  # a part of a rolling window counts until all of it has left, and whoever told may tell again by then


class SoftLimits:
    """Which budgets are beyond their `soft_ratio`, as far as this process saw; holds count as spent.

    `now` gives Unix seconds, `start` runs work beside the requests. A budget is looked at whenever it pays for
    something, so what other processes spent is known with the next request here.

    The webhook is called once per calendar window, at most once per length of a rolling one, and for a budget without
    windows when it is reached again after it was below, at most once a day. Of several processes the one calls it that
    is the first to say so in `store`.
    """

    def __init__(
        self,
        now: Callable[[], float],
        start: Callable[[Coroutine[Any, Any, object], str], None],
        logger: Logger,
    ) -> None:
        self._now = now
        self._start = start
        self._logger = logger
        self.store: Store | None = None  # of whoever opens the desk
        self.reached: dict[str, tuple[float, float]] = {}  # meter: share that is used, when its window ends
        self._quiet: dict[str, float] = {}  # meter: until when the webhook was called for it
        self._fallen: set[str] = set()  # meters that were below again since

    def moved(self, scopes: Sequence[Scope], name: str) -> str:
        """The name to decide for, where a budget of the caller sends requests for `name` elsewhere."""
        if self.reached:
            for scope in scopes:
                action = scope.on_soft
                if action is not None and action.to is not None and action.route == name and self._is_reached(scope):
                    return action.to
        return name

    def look(self, tab: Tab) -> bytes:
        """Note how much is left after a hold. Returns header lines for the caller: empty where nothing is near."""
        lines, lefts, floors = b"", tab.left, tab.terms.floors
        is_calm = not self.reached and not self._quiet
        if is_calm and len(lefts) == len(floors) and all(map(ge, lefts, floors)):
            return lines
        for at, scope, calm_from in tab.terms.alarms:
            if at >= len(lefts) or (is_calm and lefts[at] >= calm_from):
                continue
            meter_id, limit, left = scope.meter.id, scope.meter.limit, lefts[at]
            used = 1.0 if limit <= 0 else 1.0 - left / limit
            if used < scope.soft_ratio:
                self.reached.pop(meter_id, None)
                if meter_id in self._quiet:
                    self._fallen.add(meter_id)
                continue
            window = scope.meter.window
            end_s = window.period(self._now()).end_s if isinstance(window, CalendarWindow) else inf
            self.reached[meter_id] = (used, end_s)
            lines += b"x-signalbox-budget-warning: %b;used=%.3f\r\n" % (_header_name(scope), min(used, 1.0))
            self._tell_operator(scope, used, end_s)
        return lines

    def _is_reached(self, scope: Scope) -> bool:
        reached = self.reached.get(scope.meter.id)
        if reached is None:
            return False
        if self._now() >= reached[1]:
            del self.reached[scope.meter.id]  # another window
            return False
        return True

    def _tell_operator(self, scope: Scope, used: float, end_s: float) -> None:
        action = scope.on_soft
        if action is None or action.webhook is None or not self._is_news(scope.meter.id, scope.meter.window, end_s):
            return
        message = {
            "event": "budget_soft_limit",
            "budget": scope.name,
            "meter": scope.meter.id,
            "limit_usd": scope.meter.limit / 1e9,
            "used_ratio": round(used, 4),
            "soft_ratio": scope.soft_ratio,
            "window_ends": None if end_s == inf else end_s,
        }
        self._start(self._tell(action.webhook, scope, message), "budget webhook")

    def _is_news(self, meter_id: str, window: Window, end_s: float) -> bool:
        """Whether to call the webhook now; it is taken as called then."""
        now_s = self._now()
        has_windows = end_s != inf or isinstance(window, RollingWindow)
        quiet_s = self._quiet.get(meter_id)
        if quiet_s is not None and (now_s < quiet_s or not (has_windows or meter_id in self._fallen)):
            return False
        self._fallen.discard(meter_id)
        pause_s = window.length_s if isinstance(window, RollingWindow) else _DAY_S
        self._quiet[meter_id] = end_s if end_s != inf else now_s + pause_s
        return True

    async def _tell(self, url: str, scope: Scope, message: dict[str, object]) -> None:
        if self.store is None or await _is_first(self.store, scope):
            await self._post(url, message)

    async def _post(self, url: str, message: dict[str, object]) -> None:
        """Once: an operator who missed it sees the header, the metric and the log line."""
        import httpx2  # noqa: PLC0415 - only where a webhook is configured

        self._logger.warning("budget beyond its soft limit", budget=message["budget"], used=message["used_ratio"])
        try:
            async with httpx2.AsyncClient(timeout=_WEBHOOK_S, trust_env=False, follow_redirects=False) as client:
                answer = await client.post(url, json=message)
            if answer.status_code >= 300:
                self._logger.warning("webhook refused", budget=message["budget"], status=answer.status_code)
        except (httpx2.HTTPError, OSError) as error:
            self._logger.warning("webhook failed", budget=message["budget"], error=type(error).__name__)


async def _is_first(store: Store, scope: Scope) -> bool:
    """Whether no process has told of this budget in its window yet; True as well where the store cannot say for long.

    A limit of one per window, taken at once: whoever gets it is the first, in any store. Nobody takes it for itself
    while the store is away, as others then would too.
    """
    window = scope.meter.window
    if not isinstance(window, CalendarWindow) or window.unit is Calendar.TOTAL:
        length_s = window.length_s if isinstance(window, RollingWindow) else _DAY_S
        window = RollingWindow(length_s * _SOONER)
    meter = Meter(f"webhook/{scope.meter.id}", Unit.REQUESTS, 1, window, on_error="deny")
    for _ in range(_ASKED_AT_MOST):
        hold_id = f"webhook-{secrets.token_hex(8)}"
        answer = store.hold(hold_id, [(meter, 1)], _WEBHOOK_S)
        verdict: Verdict = answer if isinstance(answer, Verdict) else await answer
        if isinstance(verdict, Granted):
            store.settle(Settlement(hold_id, [1]))
        if not isinstance(verdict, Unavailable):
            return isinstance(verdict, Granted)
        await asyncio.sleep(_ASK_AGAIN_S)
    return True


def _header_name(scope: Scope) -> bytes:
    return "".join(c if "!" <= c <= "~" and c not in ';,"' else "?" for c in scope.name).encode()
