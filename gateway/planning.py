"""Routes of the configuration as plans: which candidates, in which tiers, within which limits, ranked how."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from config.schema import Config
from config.schema_routes import RouteConfig
from routing.choice import Group
from routing.classifier import Boundaries
from routing.constraints import limits_of
from routing.decision import Deployment, Reason, Rejection
from routing.experiments import experiments_of
from routing.learned.live import LiveRouter
from routing.plan import Plan, usable
from routing.strategies.registry import Spec, Strategy, strategies

# Cuts of the score for numbers of tiers other than three, which the classifier has its own for, lie evenly in here.
_SCORES = (0.25, 0.65)
# Weights and goal of a route that names a preset: how much quality, cost and latency count, and the share of the best
# model's quality that is good enough.
PRESETS: Mapping[str, tuple[Mapping[str, float], float]] = {
    "cheapest-acceptable": ({"quality": 0.5, "cost": 0.5, "latency": 0.0}, 0.95),
    "balanced": ({"quality": 0.5, "cost": 0.4, "latency": 0.1}, 0.98),
    "best": ({"quality": 1.0, "cost": 0.01, "latency": 0.0}, 1.0),
}
_STICKY = frozenset({"complexity", "balanced", "learned"})

Deployments = Mapping[str, tuple[Deployment, ...]]


class Planner:
    """Makes the plans of one configuration. `is_on` has the providers that can be called."""

    def __init__(
        self,
        config: Config,
        deployments: Deployments,
        is_on: Mapping[str, object],
        routers: Mapping[str, LiveRouter],
    ) -> None:
        self._config = config
        self._deployments = deployments
        self._is_on = is_on
        self._routers = routers
        self._builds = strategies()
        # What rules and requests may set has no settings of its own beyond the route's.
        self.plain: dict[str, Strategy] = {kind: build(Spec()) for kind, build in self._builds.items()}
        self._rule_kinds = {rule.strategy for rule in config.rules if rule.strategy is not None}

    def plans(self) -> dict[str, Plan]:
        """Every model and every route, by name."""
        plans = {name: self._model(name, own) for name, own in self._deployments.items()}
        plans.update({name: self._route(name, route) for name, route in self._config.routes.items()})
        return plans

    def direct(self, deployment: Deployment) -> Plan:
        """The plan of a name that only a caller knows: `provider/model`."""
        return Plan(deployment.label, "direct", self.plain["ordered"], (Group(deployment.model, (deployment,)),))

    def _model(self, name: str, own: tuple[Deployment, ...]) -> Plan:
        groups, off = usable([Group(name, own)], self._is_on)
        return Plan(name, "weighted", self.plain["ordered"], groups, rejections=_off(off))

    def _route(self, name: str, route: RouteConfig) -> Plan:
        build = self._builds[route.strategy]
        spec = self._spec(name, route)
        groups, off = usable(self._groups(route), self._is_on)
        fallbacks, more_off = usable(self._named(route.fallbacks, None), self._is_on)
        arms = route.experiment.arms.values() if route.experiment is not None else ()
        kinds = (self._rule_kinds | {arm.strategy for arm in arms if arm.strategy is not None}) - {route.strategy}
        return Plan(
            name,
            route.strategy,
            build(spec),
            groups,
            fallbacks,
            _off(dict.fromkeys([*off, *more_off])),
            route=name,
            tiers=tuple(route.tiers),
            limits=limits_of(route.constraints, route.tiers),
            others={kind: self._builds[kind](spec) for kind in kinds},
            is_sticky=route.sticky if route.sticky is not None else route.strategy in _STICKY,
            experiments=experiments_of(name, route),
        )

    def _groups(self, route: RouteConfig) -> list[Group]:
        if not route.tiers:
            return self._named(dict.fromkeys(route.pool), None)
        return [group for tier, models in route.tiers.items() for group in self._named(models, tier)]

    def _named(self, models: Iterable[str], tier: str | None) -> list[Group]:
        return [Group(model, self._deployments[model], tier) for model in models if model in self._deployments]

    def _spec(self, name: str, route: RouteConfig) -> Spec:
        weights, goal = PRESETS[route.preset] if route.preset is not None else ({}, 0.98)
        if route.weights is not None:
            weights = route.weights.model_dump()
        if route.goal is not None:
            goal = route.goal.min_quality_vs_best
        return Spec(
            tiers=route.tiers,
            boundaries=boundaries_of(route) if route.tiers else None,
            weights=weights,
            min_quality_vs_best=goal,
            router=self._routers.get(name),
        )


def boundaries_of(route: RouteConfig) -> Boundaries:
    """The route's own cuts where `signalbox calibrate` or a person has set them."""
    tiers = tuple(route.tiers)
    usual = Boundaries(tiers, _even_cuts(len(tiers)), route.default_tier or tiers[len(tiers) // 2])
    changes: dict[str, object] = {}
    if route.cuts is not None:
        changes["cuts"] = route.cuts
    if route.min_confidence is not None:
        changes["min_confidence"] = route.min_confidence
    return replace(usual, **changes)  # type: ignore[arg-type]


def _even_cuts(count: int) -> tuple[float, ...]:
    if count == len(Boundaries().tiers):
        return Boundaries().cuts
    low, high = _SCORES
    return tuple(low + (high - low) * (position + 1) / count for position in range(count - 1))


def _off(deployments: Iterable[Deployment]) -> tuple[Rejection, ...]:
    return tuple(Rejection(deployment, Reason.DISABLED) for deployment in deployments)
