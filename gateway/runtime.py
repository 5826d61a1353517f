"""Everything a request needs, built once from the configuration and never changed: a reload builds another one."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from config.schema import Config
from gateway.admission import OverloadLimits
from gateway.availability import Guard
from gateway.feedback.book import FeedbackBook
from gateway.keys.ring import KeyRing
from policies.cache.rules import CacheRules
from policies.hedging import HedgeRules, Hedges
from policies.last_resort import LastResort, NoLastResort
from policies.retry import Retries
from policies.scopes import Scope, ScopeBook
from policies.timeouts import Timeouts
from providers.base import ErrorKind, Provider
from providers.transport import Transport
from routing.router import Router


@dataclass(slots=True, frozen=True)
class Upstream:
    """A provider with the way to reach it. `fingerprint` is equal for two with the same options, credentials too."""

    provider: Provider
    transport: Transport
    timeouts: Timeouts
    fingerprint: str = ""


@dataclass(slots=True, frozen=True)
class Caller:
    """Who sends a request. `models` are the names it may ask for, `candidates` the models that routes may choose for
    it; None where all are allowed. `is_priority`: some places are kept for it when there is too much load. `tags` are
    those of the key and its teams, `scopes` its budgets and limits. `default_model` is asked for by requests that name
    none. From `expires_s` (Unix seconds) on the secret is refused.
    """

    name: str
    models: frozenset[str] | None = None
    candidates: frozenset[str] | None = None
    is_priority: bool = False
    team: str | None = None
    tags: frozenset[str] = frozenset()
    default_model: str | None = None
    expires_s: float | None = None
    scopes: tuple[Scope, ...] = ()

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models


@dataclass(slots=True, frozen=True)
class ListedModel:
    """An entry of /v1/models: a public name, who stands behind it, and since when (Unix seconds) it is listed."""

    id: str
    owned_by: str
    created: int


@dataclass(slots=True, frozen=True)
class Continues:
    """Whose broken streams are continued: of the routes named here as it says, of everybody else `by_default`."""

    by_default: bool
    routes: Mapping[str, bool]

    def has(self, route: str | None) -> bool:
        """`route` is None where a model was asked for."""
        return self.by_default if route is None else self.routes.get(route, self.by_default)


@dataclass(slots=True, frozen=True)
class Runtime:
    """An immutable snapshot. A request takes the current one once and keeps it to its end.

    `keys` maps the SHA-256 hex digest of a secret to its caller; empty means the gateway is open, unless it says
    otherwise. `ring` is what the configuration says about keys, for those made at run time. `route_timeouts` is keyed
    by (route, provider), and has only routes with limits of their own; `retries` is by route, or model.
    `hedge` is None where no request gets a second call. `detours` are the models of a route for one kind of error.
    `continues` is None where no broken stream is continued. `feedback` is None where none is kept.
    `guard` says what may be called now; it outlives the snapshot. `last_resort` is asked when everybody failed.
    `scopes` are the budgets and limits of everything. `cache` is None where no answers are kept.
    """

    version: str
    router: Router
    upstreams: Mapping[str, Upstream]
    keys: Mapping[str, Caller]
    models: Mapping[str, ListedModel]
    max_body_bytes: int
    notices: tuple[str, ...] = ()
    route_timeouts: Mapping[tuple[str, str], Timeouts] = field(default_factory=dict)
    retries: Retries = field(default_factory=Retries)
    hedge: HedgeRules | None = None
    hedges: Hedges = field(default_factory=lambda: Hedges(time.monotonic))
    detours: Mapping[tuple[str, ErrorKind], tuple[str, ...]] = field(default_factory=dict)
    continues: Continues | None = None
    feedback: FeedbackBook | None = None
    guard: Guard = field(default_factory=Guard)
    last_resort: LastResort = field(default_factory=NoLastResort)
    ring: KeyRing = field(default_factory=KeyRing)
    overload: OverloadLimits = field(default_factory=OverloadLimits)
    scopes: ScopeBook = field(default_factory=lambda: ScopeBook(Config()))
    cache: CacheRules | None = None

    def detour_models(self, route: str) -> list[str]:
        """The models that a request for a route may be sent to because of its error."""
        found: list[str] = []
        for (name, _), others in self.detours.items():
            for other in others if name == route else ():
                plan = self.router.plans.get(other)
                found += [one.model for one in plan.deployments()] if plan is not None else []
        return found

    def timeouts_of(self, route: str | None, provider: str) -> Timeouts:
        """The clocks of an attempt: the route's own where it has some, else the provider's."""
        own = self.route_timeouts.get((route, provider)) if route is not None and self.route_timeouts else None
        return own if own is not None else self.upstreams[provider].timeouts
