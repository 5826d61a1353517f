"""Which budgets and limits a request has to satisfy, worked out when the configuration is loaded.

A scope is one meter with what the operator wrote about it. A request has those of its key, of the key's team and that
team's parents, of the route it asks for, of its tags, and of every model that may answer it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from config.schema import Config
from config.schema_keys import KeyConfig
from config.schema_money import BudgetConfig, LimitConfig, SoftAction, rolling_s
from policies.stores.base import Meter, Unit
from policies.windows import Calendar, CalendarWindow, NoWindow, RollingWindow, Window

_MINUTE = RollingWindow(60.0)
_KNOWN = 10_000  # kinds of requests whose scopes are kept
_NUSD_PER_USD = 1_000_000_000


@dataclass(slots=True, frozen=True)
class Scope:
    """One budget or limit of a request. `name` is the operator's, for messages.

    `models`: only calls of these count (public names); None: all of the request's. The rest is of budgets
    (`max_request_nusd`: for one request; `is_shrinking`: answers may be made shorter) or of limits (`wait_s`,
    `counts_cached`). `is_each`: every key has such a budget for itself, and `key` is whose this one is.
    """

    name: str
    meter: Meter
    models: frozenset[str] | None = None
    max_request_nusd: int | None = None
    is_shrinking: bool = False
    soft_ratio: float = 1.0
    on_soft: SoftAction | None = None
    wait_s: float = 0.0
    counts_cached: bool = True
    is_each: bool = False
    key: str | None = None

    @property
    def is_budget(self) -> bool:
        """Whether it counts money."""
        return self.meter.unit is Unit.NUSD


class ScopeBook:
    """The scopes of everything in one configuration. `has_more`: there are some beside those of keys."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._own: dict[tuple[str, str], Scope] = {}
        self._known: dict[tuple[Any, ...], tuple[tuple[Scope, ...], tuple[Scope, ...]]] = {}
        self._of_models: dict[str, tuple[Scope, ...]] = {}
        for name, names in _names_of(config).items():
            for alias in names:
                found = self._of_entry("model", name, names)
                self._of_models[alias] = (*self._of_models.get(alias, ()), *found)
        self._of_routes = {name: tuple(self._of_entry("route", name, None)) for name in config.routes}
        self._of_tags: dict[str, tuple[Scope, ...]] = {}
        for name, budget in config.budgets.items():
            for tag in budget.tags or ():
                self._of_tags[tag] = (*self._of_tags.get(tag, ()), *self._chain(name, None))
        self.has_more = any((*self._of_models.values(), *self._of_routes.values(), *self._of_tags.values()))

    @property
    def has_budgets(self) -> bool:
        """Whether there is any budget, whoever pays from it."""
        return bool(self._config.budgets)

    def of_key(self, key: KeyConfig) -> tuple[Scope, ...]:
        """What holds for every request of a key."""
        found = [*self._chain(key.budget, key.name), *self._limits("key", key.name, key.limits, None)]
        for name in self.teams_of(key):
            team = self._config.teams[name]
            found += [*self._chain(team.budget, key.name), *self._limits("team", name, team.limits, None)]
        for tag in self.tags_of(key):
            found += self._of_tags.get(tag, ())
        return _distinct(self._of_whom(found, key.name))

    def teams_of(self, key: KeyConfig) -> list[str]:
        """The key's team and everything above it."""
        teams: list[str] = []
        name = key.team
        while name is not None and name in self._config.teams and name not in teams:
            teams.append(name)
            name = self._config.teams[name].parent
        return teams

    def tags_of(self, key: KeyConfig) -> frozenset[str]:
        """The tags that every request of a key carries."""
        tags = set(key.tags or ())
        for name in self.teams_of(key):
            tags |= set(self._config.teams[name].tags or ())
        return frozenset(tags)

    def of_request(
        self,
        of_key: tuple[Scope, ...],
        key: str | None,
        asked: Iterable[str | None],
        models: Iterable[str],
        tags: Collection[str],
    ) -> tuple[Scope, ...]:
        """All scopes of a request, each once: `of_key`, of the routes it asks for, its candidates' models, its tags.

        `key` is the caller's name; None where no caller asked. Requests that are alike get the same object.
        """
        if not self.has_more:
            return of_key
        paying = frozenset(tag for tag in tags if tag in self._of_tags)
        kind = (id(of_key), key, tuple(asked), tuple(models), paying)
        known = self._known.get(kind)
        if known is None or known[0] is not of_key:
            found = list(of_key)
            for name in kind[2]:
                found += self._of_routes.get(name or "", ())
            for model in kind[3]:
                found += self._of_models.get(model, ())
            for tag in sorted(paying):
                found += self._of_tags[tag]
            if len(self._known) >= _KNOWN:
                self._known.clear()
            known = self._known[kind] = of_key, _distinct(self._of_whom(found, key))
        return known[1]

    def all(self, keys: Iterable[KeyConfig]) -> tuple[Scope, ...]:
        """Every scope there is, for operators: budgets that nobody pays from as well."""
        found = [scope for name, budget in self._config.budgets.items() if not budget.each_key
                 for scope in self._chain(name, None)]  # fmt: skip
        for key in keys:
            found += self.of_key(key)
        for scopes in (*self._of_models.values(), *self._of_routes.values(), *self._of_tags.values()):
            found += scopes
        return _distinct(found)

    def _of_whom(self, scopes: Iterable[Scope], key: str | None) -> Iterator[Scope]:
        """The same, with the key's own budget in the place of one that every key has for itself."""
        for scope in scopes:
            if not scope.is_each or scope.key is not None or key is None:
                yield scope
                continue
            own = self._own.get((scope.meter.id, key))
            if own is None:
                own = _budget_scope(scope.name, self._config.budgets[scope.name], key, scope.models)
                self._own[scope.meter.id, key] = own
            yield own

    def _of_entry(self, kind: str, name: str, models: frozenset[str] | None) -> Iterator[Scope]:
        entry = self._config.models[name] if kind == "model" else self._config.routes[name]
        yield from self._chain(entry.budget, None, models)
        yield from self._limits(kind, name, entry.limits, models)

    def _chain(self, name: str | None, key: str | None, models: frozenset[str] | None = None) -> list[Scope]:
        """A budget and everything above it."""
        chain: list[str] = []
        while name is not None and name in self._config.budgets and name not in chain:
            chain.append(name)
            name = self._config.budgets[name].parent
        return [_budget_scope(link, self._config.budgets[link], key, models) for link in chain]

    def _limits(self, kind: str, owner: str, name: str | None, models: frozenset[str] | None) -> Iterator[Scope]:
        limit = self._config.limits.get(name) if name is not None else None
        if limit is not None and name is not None:
            yield from _limit_scopes(name, limit, f"{kind}/{owner}", models)


_RATES: Mapping[str, Unit] = {
    "requests_per_minute": Unit.REQUESTS,
    "tokens_per_minute": Unit.TOKENS,
    "input_tokens_per_minute": Unit.INPUT_TOKENS,
    "output_tokens_per_minute": Unit.OUTPUT_TOKENS,
}


def _limit_scopes(name: str, limit: LimitConfig, owner: str, models: frozenset[str] | None) -> Iterator[Scope]:
    for field, unit in _RATES.items():
        amount = getattr(limit, field)
        if amount is not None:
            meter = Meter(f"limit/{owner}/{unit}/minute", unit, amount, _MINUTE, on_error="local")
            yield Scope(name, meter, models, wait_s=limit.wait_s, counts_cached=limit.count_cached)
    if limit.concurrency is not None:
        meter = Meter(f"limit/{owner}/{Unit.SLOTS}", Unit.SLOTS, limit.concurrency, NoWindow(), on_error="local")
        yield Scope(name, meter, models, wait_s=limit.wait_s)


def _budget_scope(name: str, budget: BudgetConfig, key: str | None, models: frozenset[str] | None) -> Scope:
    # No name has a blank: what is one key's is no other budget's.
    owner = f"{name} {key}" if budget.each_key and key is not None else name
    meter = Meter(
        f"budget/{owner}/{budget.window.replace(' ', '-')}",
        Unit.NUSD,
        nusd(budget.limit_usd),
        _window(budget),
        carry_max=nusd(budget.carry_over_usd),
        on_error="deny" if budget.on_store_error == "deny" else "local",
    )
    return Scope(
        name,
        meter,
        models,
        max_request_nusd=None if budget.max_request_usd is None else nusd(budget.max_request_usd),
        is_shrinking=budget.shrink_answers,
        soft_ratio=budget.soft_ratio,
        on_soft=budget.on_soft,
        is_each=budget.each_key,
        key=key if budget.each_key else None,
    )


def _window(budget: BudgetConfig) -> Window:
    length_s = rolling_s(budget.window)
    if length_s is not None:
        return RollingWindow(length_s)
    return CalendarWindow(Calendar(budget.window), ZoneInfo(budget.time_zone))


def nusd(usd: float) -> int:
    """US dollars as they are written -> nano-dollars; what is finer than that is cut off."""
    return int(Decimal(str(usd)) * _NUSD_PER_USD)


def _names_of(config: Config) -> dict[str, frozenset[str]]:
    """By model the names under which it is called: its own, and `provider/model` of each of its deployments."""
    return {
        name: frozenset((name, *(f"{one.provider}/{one.model}" for one in model.deployments)))
        for name, model in config.models.items()
    }


def _distinct(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Each meter once, for all models that any of its scopes counts."""
    found: dict[str, Scope] = {}
    for scope in scopes:
        known = found.get(scope.meter.id)
        if known is None:
            found[scope.meter.id] = scope
        elif known.models is not None and known.models != scope.models:
            both = None if scope.models is None else known.models | scope.models
            found[scope.meter.id] = replace(known, models=both)
    return tuple(found.values())
