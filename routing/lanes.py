"""Short ways to a decision for the requests that make up nearly all traffic.

A lane is made from a plan at load, where rules, limits and experiments leave nothing to weigh. It holds for requests
that surely fit every candidate; all others take the long way, which comes to the same result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from routing.affinity import session_of
from routing.ask import Ask
from routing.choice import Group, World
from routing.classifier import Boundaries, classify
from routing.constraints import NO_LIMITS
from routing.decision import Decision, Deployment, Rejection, summarise
from routing.plan import Plan
from routing.strategies.complexity import Complexity


@dataclass(slots=True, frozen=True)
class Room:
    """What a request may bring without being looked at: bytes of body, output tokens, and needs that all can meet.

    `is_limited` is False where the output tokens do not matter.
    """

    body_bytes: float
    output_tokens: float
    able: frozenset[str] | None
    is_limited: bool


@dataclass(slots=True, frozen=True)
class FixedLane:
    """The order never varies, so the decision is finished."""

    room: Room
    finished: Decision

    def decide(self, ask: Ask, world: World) -> Decision | None:  # noqa: ARG002
        """The one decision."""
        return self.finished


@dataclass(slots=True, frozen=True)
class TieredLane:
    """The classifier alone decides between tiers whose order of candidates never varies; and a tool's result goes on in
    the tier of its call.
    """

    room: Room
    name: str
    route: str
    boundaries: Boundaries
    candidates: Mapping[str, tuple[Deployment, ...]]
    summaries: Mapping[str, str]
    rejections: tuple[Rejection, ...]
    is_sticky: bool

    def decide(self, ask: Ask, world: World) -> Decision | None:
        """None where the conversation may have to stay at another deployment than its turn would choose."""
        session = stay = None
        if self.is_sticky:
            session = session_of(ask.headers, ask.body, ask.key, self.name)
            stay = world.affinity.get(session)
        found = None
        if stay is not None and ask.is_tool_result():
            tier = stay.tier
            if tier is None or tier not in self.candidates:
                return None
            summary = self.summaries[tier]
        else:
            found = classify(ask.features(), self.boundaries)
            tier = found.tier
            summary = f"{self.summaries[tier]};confidence={found.confidence:.2f}"
        candidates = self.candidates[tier]
        if stay is not None and stay.deployment_id != candidates[0].id:
            return None
        return Decision(
            self.name,
            "complexity",
            candidates,
            self.rejections,
            self.route,
            tier,
            summary,
            None,  # no rule
            found,
            session=session,
            application=ask.application(),
        )


Lane = FixedLane | TieredLane


def lane_of(plan: Plan) -> Lane | None:
    """The short way for a plan without rules; None where it has none."""
    groups = (*plan.groups, *plan.fallbacks)
    if plan.limits != NO_LIMITS or plan.experiments is not None or any(len(group.deployments) > 1 for group in groups):
        return None
    if isinstance(plan.strategy, Complexity) and plan.route is not None:
        return _tiered(plan, plan.strategy, plan.route)
    if plan.is_sticky or not (plan.strategy.is_fixed or len(groups) <= 1):
        return None
    candidates = tuple(dict.fromkeys(plan.deployments()))
    if not candidates:
        return None
    decision = Decision(plan.name, plan.kind, candidates, plan.rejections, plan.route, summary=plan.summary())
    return FixedLane(_room(plan), decision)


def _tiered(plan: Plan, strategy: Complexity, route: str) -> TieredLane | None:
    candidates = {tier: _in_order(plan, strategy, tier) for tier in plan.tiers}
    if not plan.groups or not all(candidates.values()):
        return None  # where fallbacks are all that is left, there is no tier to speak of
    return TieredLane(
        _room(plan),
        plan.name,
        route,
        strategy.boundaries,
        candidates,
        {tier: summarise(plan.kind, route=route, tier=tier) for tier in plan.tiers},
        plan.rejections,
        plan.is_sticky,
    )


def _in_order(plan: Plan, strategy: Complexity, tier: str) -> tuple[Deployment, ...]:
    own = [group for group in plan.groups if group.tier == tier]
    others: list[Group] = [group for group in strategy.in_order(plan.groups, tier) if group.tier != tier]
    return tuple(dict.fromkeys(d for group in (*own, *plan.fallbacks, *others) for d in group.deployments))


def _room(plan: Plan) -> Room:
    known = [d.target.capabilities for d in plan.deployments() if d.target.capabilities is not None]
    able = frozenset.intersection(*known) if known else None
    output_tokens = plan.sure_output_tokens()
    return Room(plan.sure_bytes(), output_tokens, able, is_limited=output_tokens != inf)
