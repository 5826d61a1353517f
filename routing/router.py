"""From a request to a Decision: rules, constraints, signals, strategy. Pure: no I/O, and time and chance come from the
World that is handed in.

What can be worked out when the configuration is loaded is in a `Plan`; a plan whose order never varies keeps its
finished Decision, and a request that surely fits gets that.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from routing.affinity import Stay, option_for, session_of, stay_or_move
from routing.ask import Ask
from routing.choice import Choice, Group, World
from routing.constraints import Limits, NoCandidateError, relaxed, screen
from routing.decision import Decision, Deployment, Rejection, summarise
from routing.experiments import Assignment
from routing.lanes import Lane, lane_of
from routing.plan import Plan
from routing.preferences import NO_PREFERENCES
from routing.rules import Rule
from routing.strategies.registry import Strategy

# A caller can invent direct names for ever; what is remembered of them is bounded.
_DIRECT_NAMES_KEPT = 512
_NEAR_NAMES_SHOWN = 3
# What a request's own wish for an order is carried out by.
_SORTS = {"price": "cheapest", "latency": "fastest", "throughput": "fastest"}


class UnknownModelError(Exception):
    """No model, route or provider of that name; `near` has configured names that look like it."""

    def __init__(self, name: str, near: Sequence[str]) -> None:
        super().__init__(name)
        self.name = name
        self.near = tuple(near)


class Router:
    """Plans by name, plus direct `provider/model` names for everything a configured provider serves.

    `direct` maps a provider's name (or its kind, where one provider has it) to a function that makes a plan for a model
    name at it. `strategies` are those without settings, for what requests may wish.
    """

    def __init__(
        self,
        plans: Mapping[str, Plan],
        direct: Mapping[str, Callable[[str], Plan]],
        world: World,
        *,
        rules: Sequence[Rule] = (),
        strategies: Mapping[str, Strategy] | None = None,
    ) -> None:
        self.plans = plans
        self.world = world
        self._direct = direct
        self._strategies = strategies or {}
        self._all_rules = rules
        self._rules = {name: self._rules_for(name, plan) for name, plan in plans.items()}
        self._lanes: dict[str, Lane | None] = {
            name: None if self._rules[name] else lane_of(plan) for name, plan in plans.items()
        }
        self._direct_plans: dict[str, Plan] = {}

    def decide(self, ask: Ask) -> Decision:
        """The candidates for a request. Raises UnknownModelError, NoCandidateError."""
        lane = self._lanes.get(ask.name)
        if (
            lane is not None
            and ask.preferences is NO_PREFERENCES
            and ask.allowed is None
            and self.world.availability.is_calm
        ):
            room, body = lane.room, ask.body
            output = (body.get("max_completion_tokens") or body.get("max_tokens") or 0) if room.is_limited else 0
            if (
                ask.body_bytes <= room.body_bytes
                and type(output) is int
                and output <= room.output_tokens
                and (room.able is None or ask.needs().capabilities <= room.able)
            ):
                decision = lane.decide(ask, self.world)
                if decision is not None:
                    return decision
        return self._decide(ask)

    def find(self, name: str) -> Plan:
        """The plan of a model, a route or a direct name. Raises UnknownModelError."""
        plan = self.plans.get(name) or self._direct_plans.get(name)
        return plan if plan is not None else self._make_direct(name)

    def _make_direct(self, name: str) -> Plan:
        provider, slash, model = name.partition("/")
        make = self._direct.get(provider)
        if make is None or not slash or not model:
            raise UnknownModelError(name, get_close_matches(name[:128], self.plans, n=_NEAR_NAMES_SHOWN, cutoff=0.5))
        plan = make(model)
        if len(self._direct_plans) >= _DIRECT_NAMES_KEPT:
            for known in self._direct_plans:
                del self._lanes[known]
            self._direct_plans.clear()
        self._direct_plans[name] = plan
        self._lanes[name] = None if self._rules_for(name, plan) else lane_of(plan)
        return plan

    def _rules_for(self, name: str, plan: Plan) -> tuple[Rule, ...]:
        """The rules that can match a request for this name."""
        is_route, tiers = plan.route is not None, plan.tiers
        return tuple(rule for rule in self._all_rules if rule.can_match(name, is_route=is_route, tiers=tiers))

    def _decide(self, ask: Ask) -> Decision:
        is_new = ask.name not in self._lanes
        asked = self.find(ask.name)
        if is_new and self._lanes[ask.name] is not None:
            return self.decide(ask)  # a direct name that has its lane now
        rules = self._rules.get(ask.name)
        if rules is None:
            rules = self._rules_for(ask.name, asked)
        rule = next((rule for rule in rules if rule.matches(ask)), None)
        plan = asked if rule is None or rule.use is None else self.find(rule.use)
        assignment = None
        if plan.experiments is not None:
            assignment = plan.experiments.assign(ask, self.world.rng)
            if assignment.use is not None:
                try:
                    return _Making(self, ask, asked, self.find(assignment.use), rule, assignment, via=plan).decision()
                except NoCandidateError:
                    assignment = None  # a request that the arm cannot take is no part of the experiment
        return _Making(self, ask, asked, plan, rule, assignment).decision()

    def decide_within(self, ask: Ask, names: Iterable[str]) -> Decision:
        """The decision for a model under the limits of these routes, without rules, experiments and stays: for copies.

        Raises UnknownModelError, NoCandidateError.
        """
        plan = self.find(ask.name)
        limits = plan.limits
        for name in names:
            limits = limits.merged(self.find(name).limits)
        return _Making(self, ask, plan, replace(plan, limits=limits, is_sticky=False), None, None).decision()

    def strategy_for(
        self, plan: Plan, ask: Ask, rule: Rule | None, assignment: Assignment | None
    ) -> tuple[str, Strategy]:
        """The request's own wish goes before a rule, that before an experiment, and that before the route."""
        sort = ask.preferences.sort
        kind = _SORTS[sort] if sort is not None else rule.strategy if rule is not None else None
        if kind is None and assignment is not None:
            kind = assignment.strategy
        if kind is None or kind == plan.kind:
            return plan.kind, plan.strategy
        own = plan.others.get(kind) or self._strategies.get(kind)
        return (kind, own) if own is not None else (plan.kind, plan.strategy)


class _Making:
    """One decision from the plan to the record of it. `via` is the route whose experiment led to the plan."""

    def __init__(
        self,
        router: Router,
        ask: Ask,
        asked: Plan,
        plan: Plan,
        rule: Rule | None,
        assignment: Assignment | None,
        *,
        via: Plan | None = None,
    ) -> None:
        self._router = router
        self._world = router.world
        self._ask = ask
        self._asked = asked
        self._plan = plan
        self._via = via if via is not None else plan
        self._rule = rule
        self._assignment = assignment
        self._kind, self._strategy = router.strategy_for(plan, ask, rule, assignment)
        self._rejections: list[Rejection] = list(plan.rejections)
        self._relaxed: tuple[str, ...] = ()

    def decision(self) -> Decision:
        plan, ask = self._plan, self._ask
        session = session_of(ask.headers, ask.body, ask.key, plan.name) if plan.is_sticky else None
        stay = self._world.affinity.get(session) if session is not None else None
        choice = Choice(ask, plan.groups, self._world, stay=stay)
        if self._rule is not None and self._rule.tier in plan.tiers:
            choice.tier = self._rule.tier
        elif stay is not None and stay.tier in plan.tiers and ask.is_tool_result():
            choice.tier = stay.tier
        fallbacks = self._screened(choice)
        ranked = self._ranked(choice, fallbacks)
        is_stay = False
        if stay is not None and ranked[0].id != stay.deployment_id and not self._is_told():
            is_stay = _stay(choice, ranked, stay, plan.tiers)
        return self._record(choice, tuple(ranked), session, is_stay=is_stay)

    def _is_told(self) -> bool:
        """Whether somebody wants a certain model here, whatever the conversation had before."""
        rule, assignment, preferences = self._rule, self._assignment, self._ask.preferences
        if rule is not None or preferences.order or (preferences.sort is not None and not self._ask.is_tool_result()):
            return True
        return assignment is not None and assignment.is_canary

    def _screened(self, choice: Choice) -> Sequence[Group]:
        """Leave what fits in `choice.groups`; returns what fits of the fallbacks. Raises NoCandidateError."""
        plan = self._plan
        groups: Sequence[Group] = self._with_canary(plan.groups)
        fallbacks: Sequence[Group] = (*plan.fallbacks, *self._wished_models())
        # What the routes on the way here demand holds wherever a rule or an experiment sends their requests.
        limits = plan.limits
        for before in {id(one): one for one in (self._asked, self._via) if one is not plan}.values():
            limits = limits.merged(before.limits)
        limits = limits.merged(self._ask.preferences.limits())
        choice.min_tier = plan.limits.min_tier
        kept = self._screen(choice, groups, fallbacks, limits)
        if kept is None:
            for looser in relaxed(limits):
                kept = self._screen(choice, groups, fallbacks, looser)
                if kept is not None:
                    self._relaxed = tuple(name for name in limits.relax if name not in looser.relax)
                    choice.min_tier = looser.min_tier
                    break
            else:
                raise NoCandidateError(self._rejections, self._rule.name if self._rule is not None else None)
        choice.groups, rest = kept
        return rest

    def _screen(
        self, choice: Choice, groups: Sequence[Group], fallbacks: Sequence[Group], limits: Limits
    ) -> tuple[Sequence[Group], Sequence[Group]] | None:
        """What passes of both; None where nothing does. Keeps the rejections."""
        ask, availability = self._ask, self._world.availability
        deployments = dict.fromkeys(d for group in (*groups, *fallbacks) for d in group.deployments)
        del self._rejections[len(self._plan.rejections) :]
        good, rejections = screen(deployments, ask, limits, choice.expected)
        kept = set()
        for deployment in good:
            reason = availability.reason_against(deployment, ask)
            if reason is None:
                kept.add(deployment)
            else:
                rejections.append(Rejection(deployment, reason))
        self._rejections += rejections
        if not kept:
            return None
        if len(kept) == len(deployments):
            return groups, fallbacks
        return _only(groups, kept), _only(fallbacks, kept)

    def _with_canary(self, groups: Sequence[Group]) -> Sequence[Group]:
        """The canary's model in front of the route's own."""
        assignment = self._assignment
        if assignment is None or assignment.canary is None:
            return groups
        return (*self._router.find(assignment.canary).groups, *groups)

    def _wished_models(self) -> Iterable[Group]:
        """The further models that the request itself names."""
        for name in self._ask.preferences.models:
            yield from self._router.find(name).groups

    def _ranked(self, choice: Choice, fallbacks: Sequence[Group]) -> list[Deployment]:
        """All candidates in order: the strategy's, then the fallbacks."""
        ask = self._ask
        ranked = self._strategy.rank(choice) if choice.groups else []
        last = choice.in_order(fallbacks) if fallbacks else []
        if self._plan.tiers and last and choice.tier is not None:
            # The fallbacks of a route with tiers stand behind the tier, not behind all of them.
            own = {d for group in choice.groups if group.tier == choice.tier for d in group.deployments}
            last += [d for d in ranked if d not in own]
            ranked = [d for d in ranked if d in own]
        ranked = list(dict.fromkeys((*ranked, *last)))
        canary = self._assignment.canary if self._assignment is not None else None
        if canary is not None:
            ranked.sort(key=lambda d: d.model != canary)
        preferences = ask.preferences
        if preferences.order:
            places = {provider: place for place, provider in enumerate(preferences.order)}
            ranked.sort(key=lambda d: places.get(d.provider, len(places)))
        return ranked if preferences.allow_fallbacks else ranked[:1]

    def _record(
        self, choice: Choice, candidates: tuple[Deployment, ...], session: bytes | None, *, is_stay: bool
    ) -> Decision:
        plan, rule, assignment = self._plan, self._rule, self._assignment
        found = choice.classification
        arm = assignment.arm if assignment is not None else None
        route = self._asked.route if self._asked.route is not None else plan.route
        summary = summarise(self._kind, route=route, tier=choice.tier)
        if found is not None:
            summary += f";confidence={found.confidence:.2f}"
        if rule is not None:
            summary += summarise("", rule=rule.name)
        if is_stay:
            summary += ";stay"
        if arm is not None:
            summary += summarise("", arm=arm)
        return Decision(
            asked=self._asked.name,
            strategy=self._kind,
            candidates=candidates,
            rejections=tuple(self._rejections),
            route=route,
            tier=choice.tier,
            summary=summary,
            rule=rule.name if rule is not None else None,
            classification=found,
            estimates=choice.estimates,
            router_version=choice.router_version,
            shadow=choice.shadow,
            session=session,
            is_stay=is_stay,
            arm=arm,
            mirror=assignment.mirror if assignment is not None else None,
            mirror_route=self._via.name if assignment is not None and assignment.mirror is not None else None,
            application=self._ask.application(),
            relaxed=self._relaxed,
        )


def _only(groups: Sequence[Group], kept: set[Deployment]) -> list[Group]:
    found = []
    for group in groups:
        deployments = tuple(d for d in group.deployments if d in kept)
        if deployments:
            found.append(Group(group.model, deployments, group.tier))
    return found


def _stay(choice: Choice, ranked: list[Deployment], stay: Stay, tiers: Sequence[str]) -> bool:
    """Put the conversation's deployment in front where it should stay there."""
    current = next((d for d in ranked if d.id == stay.deployment_id), None)
    if current is None:
        return False
    ask, proposed = choice.ask, ranked[0]
    confidence = choice.classification.confidence if choice.classification is not None else None
    keeps = stay_or_move(
        stay,
        option_for(
            proposed,
            _quality(choice, proposed, choice.tier, tiers),
            prompt_tokens=ask.input_tokens(),
            output_tokens=round(choice.output_tokens(proposed.model)),
            latency_s=choice.latency_s(proposed),
        ),
        option_for(
            current,
            _quality(choice, current, stay.tier, tiers),
            prompt_tokens=ask.input_tokens(),
            output_tokens=round(choice.output_tokens(current.model)),
            latency_s=choice.latency_s(current),
            prefix_tokens=stay.prefix_tokens,
            has_caching=stay.has_caching,
        ),
        is_tool_result=ask.is_tool_result(),
        confidence=confidence if tiers else None,
    )
    if keeps:
        ranked.remove(current)
        ranked.insert(0, current)
        choice.tier = stay.tier
    return keeps


def _quality(choice: Choice, deployment: Deployment, tier: str | None, tiers: Sequence[str]) -> float:
    """What the strategy expects of the model; with tiers, how far up its tier is."""
    if tier in tiers:
        return tiers.index(tier) / max(1, len(tiers) - 1)
    estimate = choice.estimates.get(deployment.model)
    return estimate.quality if estimate is not None and estimate.quality is not None else 0.0
