"""From the loaded configuration to an immutable Runtime: all of the work that no request should have to do."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import get_args

import orjson

from config.load import Loaded
from config.price_files import PriceFile
from config.schema import Capability, Config, DeploymentConfig, ModelConfig, ProviderConfig
from config.schema_base import RouteTimeouts
from config.schema_policies import TimeoutsConfig
from config.settings import Settings
from gateway.admission import OverloadLimits
from gateway.availability import Guard
from gateway.caching.keeper import CacheKeeper, cache_rules
from gateway.exposure import open_to_the_world, shared_admin_key
from gateway.feedback.keeper import FeedbackKeeper
from gateway.keys.ring import KeyRing, ring_of
from gateway.keys.table import build_keys
from gateway.options import check_ca_file, check_public_only, options_of
from gateway.planning import Planner
from gateway.router_files import RouterFiles
from gateway.runtime import Continues, ListedModel, Runtime, Upstream
from gateway.spending import SpendingBook
from policies.breaker import BreakerSettings
from policies.hedging import HedgeRules, Hedges
from policies.retry import Retries, RetryBudget, RetryRules
from policies.timeouts import Timeouts
from providers import pricing, registry
from providers.base import ErrorKind, ProviderOptions, Target
from providers.prefill import prefill_of
from providers.pricing import Price
from providers.reasoning import thinks
from providers.transport import HttpTransport, Transport
from routing.affinity import AffinityBook
from routing.choice import World
from routing.decision import Deployment, header_text
from routing.latency import LatencyBook
from routing.plan import Plan
from routing.router import Router
from routing.rules import compile_rules

# What /readyz says where scores may miss the process that could take them.
_SCATTERED = "feedback: a score has to reach the worker that answered, and the others refuse it; use one worker"

_NO_REDIS = "policies.cache.redis: set SIGNALBOX_REDIS_URL; until then every process keeps its own answers"


@dataclass(slots=True, frozen=True)
class Inputs:
    """What decides an upstream."""

    options: ProviderOptions
    timeouts: Timeouts


class Assembler:
    """Builds Runtimes. An upstream whose inputs did not change keeps its connections across reloads.

    `now` is injected for prices that change by date, `rng` for choices by chance, `clock` (monotonic seconds) for what
    routing learns from traffic: that is `world`, which outlives every Runtime. `folder` is what paths in the
    configuration start from.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        folder: Path = Path(),
    ) -> None:
        self._settings = settings
        self._now = now
        rng = rng if rng is not None else random.Random()  # noqa: S311 - load spreading, not a secret
        self.world = World(rng, LatencyBook(clock), AffinityBook(clock))
        self.retry_budgets: dict[str, RetryBudget] = {}
        self.hedges = Hedges(clock)
        self.spending = SpendingBook()
        self.world.spending = self.spending
        self.world.availability = self.guard = Guard(clock=clock, chance=rng.random)
        self.router_files = RouterFiles(folder)
        self.feedback = FeedbackKeeper(folder, clock)
        self.cache = CacheKeeper()
        self.cache.semantic.folder = folder
        self._upstreams: dict[str, tuple[Inputs, Upstream]] = {}
        self._started = int(now().timestamp())
        self.retired: list[Transport] = []  # what the Runtime before used and this one does not
        self.prepare_keys: Callable[[KeyRing], object] = lambda _: None  # told of the next configuration, in any thread
        self.has_made_keys: Callable[[], bool] = lambda: False  # whether there are keys beside those of the file
        self.prices_until_s = inf  # Unix seconds at which a price in use changes
        self.price_files: tuple[PriceFile, ...] = ()  # those in use, in their order

    def build(self, config: Config, loaded: Loaded, version: str) -> Runtime:
        """The Runtime for a valid configuration.

        Raises ValueError when a provider cannot be built from its options, or anybody could spend the operator's money.
        """
        problem = open_to_the_world(self._settings, has_keys=bool(config.keys) or self.has_made_keys())
        problem = problem or shared_admin_key(self._settings, {key.sha256 for key in config.keys})
        if problem is not None:
            raise ValueError(problem)
        known = self.prices_until_s, self.price_files
        self.prices_until_s, self.price_files = inf, loaded.price_files
        try:
            return self._build(config, loaded, version)
        except BaseException:
            self.prices_until_s, self.price_files = known  # the Runtime before goes on, and with it its prices
            raise

    def _build(self, config: Config, loaded: Loaded, version: str) -> Runtime:
        connected = self._connected(config, loaded.disabled_providers)
        upstreams = {name: upstream for name, (_, upstream) in connected.items()}
        deployments = {name: self._deployments(config, name, model) for name, model in config.models.items()}
        ring = ring_of(config)
        self.prepare_keys(ring)
        cache = cache_rules(config)
        self.cache.semantic.prepare(None if cache is None else cache.semantic)
        planner = Planner(config, deployments, upstreams, self.router_files.of(config))
        runtime = Runtime(
            version=version,
            router=Router(
                planner.plans(),
                self._direct(config, upstreams, planner),
                self.world,
                rules=compile_rules(config.rules),
                strategies=planner.plain,
            ),
            upstreams=upstreams,
            keys=build_keys(ring),
            ring=ring,
            scopes=ring.scopes,
            overload=_overload(config, self._settings.workers),
            models=self._listed(config),
            max_body_bytes=self._settings.max_body_bytes,
            route_timeouts=_route_timeouts(config, upstreams),
            retries=_retries(config, self.retry_budgets),
            hedge=_hedge(config),
            hedges=self.hedges,
            detours=_detours(config),
            continues=_continues(config),
            feedback=self.feedback.book(config.feedback),
            guard=self.guard,
            cache=cache,
            last_resort=self.cache.last_resort(cache),
            notices=(
                *(f"provider '{name}' is off: {reason}" for name, reason in sorted(loaded.disabled_providers.items())),
                *self.router_files.problems(),
                *([_NO_REDIS] if cache is not None and cache.is_shared and self._settings.redis_url is None else []),
                *([_SCATTERED] if config.feedback is not None and self._settings.workers > 1 else []),
            ),
        )
        kept = {id(upstream) for upstream in upstreams.values()}
        self.retired = [upstream.transport for _, upstream in self._upstreams.values() if id(upstream) not in kept]
        # Another address or another key: what the old one did says nothing.
        changed = {name for name, known in self._upstreams.items() if connected.get(name) is not known}
        self.guard.prepare(BreakerSettings(**config.policies.breaker.model_dump()), changed)
        self._upstreams = connected
        self.spending.use(config.budgets, config.keys)
        return runtime

    def _connected(self, config: Config, disabled: Mapping[str, str]) -> dict[str, tuple[Inputs, Upstream]]:
        connected = {}
        for name, provider in config.providers.items():
            if name in disabled:
                continue
            inputs = _inputs(name, provider, config)
            known = self._upstreams.get(name)
            connected[name] = known if known is not None and known[0] == inputs else (inputs, _connect(inputs))
        return connected

    def _deployments(self, config: Config, name: str, model: ModelConfig) -> tuple[Deployment, ...]:
        return tuple(self._deployment(config, own.provider, own.model, name, model, own) for own in model.deployments)

    def _deployment(
        self,
        config: Config,
        provider: str,
        upstream_model: str,
        public: str,
        model: ModelConfig | None,
        own: DeploymentConfig | None = None,
    ) -> Deployment:
        row = config.providers[provider]
        override = model.price.model_dump(exclude_none=True) if model is not None and model.price is not None else None
        facts = pricing.model_facts(row.kind, upstream_model, base_url=row.base_url)
        window = model.context_window if model is not None else None
        capabilities = _capabilities(model) if model is not None else None
        identity = f"{provider}/{upstream_model}"
        return Deployment(
            id=identity,
            label=identity if model is not None else f"{provider}/*",
            model=public,
            provider=provider,
            target=Target(
                upstream_model,
                context_window=window or (facts.context_window if facts is not None else None),
                max_output_tokens=model.max_output_tokens if model is not None else None,
                capabilities=capabilities,
                prefill=prefill_of(
                    row.kind, upstream_model, row.base_url, stated=model.prefill if model is not None else None
                ),
                thinks=thinks(upstream_model) and (capabilities is None or "reasoning" in capabilities),
            ),
            price=self._price(public, provider, upstream_model, row, override),
            weight=own.weight if own is not None else 1.0,
            quality=model.quality if model is not None else None,
            header=header_text(identity),
            residency=frozenset((own.residency if own is not None else None) or row.residency or ()),
        )

    def _price(
        self, public: str, provider: str, upstream_model: str, row: ProviderConfig, override: dict[str, float] | None
    ) -> Price | None:
        try:
            price = pricing.resolve(
                row.kind,
                upstream_model,
                now=self._now(),
                override=override,
                base_url=row.base_url,
                provider=provider,
                files=[file.entries for file in self.price_files],
            )
        except pricing.PriceError as error:
            raise ValueError(f"the price of model '{public}': {error}") from None
        if price is not None and price.expires_at_s is not None:
            self.prices_until_s = min(self.prices_until_s, price.expires_at_s)
        return price

    def _direct(
        self, config: Config, upstreams: Mapping[str, Upstream], planner: Planner
    ) -> dict[str, Callable[[str], Plan]]:
        """Names before the slash of `provider/model`: every provider, and a kind that exactly one provider has."""
        per_kind = Counter(config.providers[name].kind for name in upstreams)
        direct: dict[str, Callable[[str], Plan]] = {}
        for name in upstreams:
            make = partial(self._direct_plan, config, planner, name)
            kind = config.providers[name].kind
            if per_kind[kind] == 1:
                direct.setdefault(kind, make)
            direct[name] = make
        return direct

    def _direct_plan(self, config: Config, planner: Planner, provider: str, model: str) -> Plan:
        return planner.direct(self._deployment(config, provider, model, f"{provider}/{model}", None))

    def _listed(self, config: Config) -> dict[str, ListedModel]:
        listed = {
            name: ListedModel(name, model.deployments[0].provider, self._started)
            for name, model in config.models.items()
        }
        listed.update({name: ListedModel(name, "signalbox", self._started) for name in config.routes})
        return listed


def _inputs(name: str, provider: ProviderConfig, config: Config) -> Inputs:
    return Inputs(options_of(name, provider), _timeouts(config.policies.timeouts, provider.timeouts))


def _timeouts(usual: TimeoutsConfig, *owns: RouteTimeouts | None) -> Timeouts:
    """The usual limits, replaced by those of a provider and then of a route."""
    given, stated = usual.model_dump(), set(usual.model_fields_set)
    for own in owns:
        if own is not None:
            changed = own.model_dump(exclude_none=True)
            given |= changed
            stated |= changed.keys()
    return Timeouts(**given).with_thinking(stated)


def _route_timeouts(config: Config, upstreams: Iterable[str]) -> dict[tuple[str, str], Timeouts]:
    """A route's own limits win over a provider's: whoever wrote them knew what the route is for."""
    return {
        (name, provider): _timeouts(config.policies.timeouts, config.providers[provider].timeouts, route.timeouts)
        for name, route in config.routes.items()
        if route.timeouts is not None
        for provider in upstreams
    }


def _overload(config: Config, workers: int) -> OverloadLimits:
    given = config.policies.overload
    memory_bytes = given.memory_limit_mb * 1_000_000 // workers if given.memory_limit_mb is not None else None
    limits = OverloadLimits(
        given.max_in_flight,
        given.queue_max,
        given.queue_wait_s,
        memory_bytes=memory_bytes,
        max_connections=given.max_connections,
    )
    return limits.for_keys(has_priority=any(key.priority for key in config.keys), has_others=len(config.keys) > 1)


def _retries(config: Config, budgets: dict[str, RetryBudget]) -> Retries:
    usual = RetryRules(**config.policies.retry.model_dump())
    of_routes = {
        name: replace(usual, **route.retry.model_dump(exclude_none=True))
        for name, route in config.routes.items()
        if route.retry is not None
    }
    return Retries(usual, of_routes, budgets)


def _hedge(config: Config) -> HedgeRules | None:
    given = config.policies.hedge
    return HedgeRules(int(given.after.removeprefix("p")) / 100, given.max_extra_ratio) if given.enabled else None


def _detours(config: Config) -> dict[tuple[str, ErrorKind], tuple[str, ...]]:
    """The models that routes have for one kind of error; empty where no route has any."""
    detours = {}
    for name, route in config.routes.items():
        if route.context_window_fallbacks:
            detours[(name, ErrorKind.CONTEXT_LENGTH)] = route.context_window_fallbacks
        if route.content_filter_fallbacks:
            detours[(name, ErrorKind.CONTENT_FILTER)] = route.content_filter_fallbacks
    return detours


def _continues(config: Config) -> Continues | None:
    """None where broken streams always end with an error."""
    routes = {
        name: route.on_stream_cut == "continue"
        for name, route in config.routes.items()
        if route.on_stream_cut is not None
    }
    by_default = config.policies.on_stream_cut == "continue"
    return Continues(by_default, routes) if by_default or any(routes.values()) else None


def _connect(inputs: Inputs) -> Upstream:
    provider = registry.build(inputs.options)
    own: Transport | None = getattr(provider, "transport", None)
    if own is None:
        ca_file = check_ca_file(inputs.options)
        is_public_only = check_public_only(inputs.options)
        own = HttpTransport(connect_s=inputs.timeouts.connect_s, ca_file=ca_file, is_public_only=is_public_only)
    options = orjson.dumps(inputs.options, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    return Upstream(provider, own, inputs.timeouts, sha256(options).hexdigest())


def _capabilities(model: ModelConfig) -> frozenset[str] | None:
    """What the model can do; None where nothing is ruled out. Nearly all models stream, so that is said by itself."""
    if model.capabilities is None and model.streaming:
        return None
    able = frozenset(model.capabilities if model.capabilities is not None else get_args(Capability))
    return able | {"streaming"} if model.streaming else able - {"streaming"}
