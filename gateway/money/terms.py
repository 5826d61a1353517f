"""What every request needs to know of the budgets and limits it is under, worked out once for all that share them."""

from collections.abc import Callable, Sequence
from math import ceil, inf
from operator import itemgetter
from typing import NamedTuple

from policies.scopes import Scope
from policies.stores.base import Unit
from policies.windows import RollingWindow

# https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
_KINDS = {Unit.REQUESTS: "requests", Unit.TOKENS: "tokens"}
_KEPT = 10_000
_ONE = 1
_PLACES = {
    Unit.NUSD: 0,
    Unit.REQUESTS: _ONE,
    Unit.SLOTS: _ONE,
    Unit.INPUT_TOKENS: 2,
    Unit.OUTPUT_TOKENS: 3,
    Unit.TOKENS: 4,
}


class Alarm(NamedTuple):
    """A budget, the place of its scope, and how much has to be left of it (nano-dollars) for nobody to be told."""

    at: int
    scope: Scope
    calm_from: float


class Rate(NamedTuple):
    """A rate limit, the place of its scope, and the header lines about it: around how much is left."""

    at: int
    limit: int
    head: bytes
    tail: bytes


class Terms:
    """The scopes of a request in the order in which they are held, and what follows from them.

    `rates` are those that headers tell of, by kind; `alarms` the budgets; `capped` those that bound one request.

    `is_plain`: every call counts for every scope, and no budget bounds one request. Then `pick` finds what the scopes
    take among the amounts of all units: money, one, tokens of the input, of the output, and of both. `rate_lines` is
    the format of what headers say, from what `left_of_rates` finds (None where rates have to be compared), `floors`
    what has to be left of each scope for nobody to be told.
    """

    __slots__ = (
        "alarms",
        "capped",
        "counts_tokens",
        "floors",
        "has_budget",
        "is_plain",
        "left_of_rates",
        "meters",
        "pick",
        "rate_lines",
        "rates",
        "scopes",
    )

    def __init__(self, scopes: Sequence[Scope]) -> None:
        self.scopes = scopes
        self.meters = tuple(scope.meter for scope in scopes)
        self.alarms = tuple(_alarm(at, scope) for at, scope in enumerate(scopes) if scope.is_budget)
        self.has_budget = bool(self.alarms)
        self.capped = tuple(scope for scope in scopes if scope.max_request_nusd is not None)
        self.rates = _rates(scopes)
        self.is_plain = not self.capped and all(one.models is None and one.counts_cached for one in scopes)
        places = [_PLACES[one.meter.unit] for one in scopes]
        self.counts_tokens = max(places, default=0) > _ONE
        self.pick = _getter(places)
        self.floors = _floors(scopes, self.alarms)
        tightest = [rates[0] for rates in self.rates]
        self.left_of_rates = _getter([rate.at for rate in tightest])
        self.rate_lines: bytes | None = None
        if all(len(rates) == 1 for rates in self.rates):
            self.rate_lines = b"".join(b"%b%%d%b" % (_escaped(one.head), _escaped(one.tail)) for one in tightest)


class KnownTerms:
    """The terms of scopes that came before: those of a key are the same object for every request."""

    def __init__(self) -> None:
        self._known: dict[int, Terms] = {}

    def of(self, scopes: Sequence[Scope]) -> Terms:
        terms = self._known.get(id(scopes))
        if terms is None or terms.scopes is not scopes:
            if len(self._known) >= _KEPT:
                self._known.clear()
            terms = self._known[id(scopes)] = Terms(scopes)
        return terms


def duration(seconds: float) -> str:
    """As OpenAI writes it: `12ms`, `1s`, `6m0s`."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    whole = ceil(seconds)
    return f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"


def _alarm(at: int, scope: Scope) -> Alarm:
    limit = scope.meter.limit
    # A little above, as the exact question is put to what is below.
    calm_from = limit * (1.0 - scope.soft_ratio) * (1 + 1e-9) + 1.0
    return Alarm(at, scope, calm_from if limit > 0 else inf)


def _getter(places: Sequence[int]) -> Callable[[Sequence[int]], tuple[int, ...]]:
    """What is at these places, in one call."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple(values[at] for at in places)


def _floors(scopes: Sequence[Scope], alarms: Sequence[Alarm]) -> tuple[float, ...]:
    calm_from = {alarm.at: alarm.calm_from for alarm in alarms}
    return tuple(calm_from.get(at, -inf) for at in range(len(scopes)))


def _escaped(line: bytes) -> bytes:
    return line.replace(b"%", b"%%")


def _rates(scopes: Sequence[Scope]) -> tuple[tuple[Rate, ...], ...]:
    found: dict[str, tuple[Rate, ...]] = {}
    for at, scope in enumerate(scopes):
        kind, limit, window = _KINDS.get(scope.meter.unit), scope.meter.limit, scope.meter.window
        if kind is not None and isinstance(window, RollingWindow):
            head = f"x-ratelimit-limit-{kind}: {limit}\r\nx-ratelimit-remaining-{kind}: "
            # By then all of it is free again: what was used just now leaves the window last.
            tail = f"\r\nx-ratelimit-reset-{kind}: {duration(window.length_s)}\r\n"
            found[kind] = (*found.get(kind, ()), Rate(at, limit, head.encode(), tail.encode()))
    return tuple(found.values())
