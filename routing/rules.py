"""The operator's rules: the first one whose conditions hold decides, before any strategy."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from config.schema_routes import RuleConfig
from routing.ask import Ask
from routing.rule_conditions import Condition, conditions_of


@dataclass(slots=True, frozen=True)
class Rule:
    """`use` is the model or route to go to; else `tier` or `strategy` or both replace what the route would take.

    `routes` and `models` are the names it is limited to, None: all.
    """

    name: str
    use: str | None = None
    tier: str | None = None
    strategy: str | None = None
    routes: frozenset[str] | None = None
    models: frozenset[str] | None = None
    conditions: tuple[Condition, ...] = ()

    def can_match(self, name: str, *, is_route: bool, tiers: Collection[str] | None = None) -> bool:
        """Whether a request for `name` may come under this rule; `tiers` are those of the route, None: unknown.

        A rule that sets a tier or a strategy has nothing to set on a model, or on a route without that tier.
        """
        if self.use is None and not is_route:
            return False
        if self.tier is not None and tiers is not None and self.tier not in tiers:
            return False
        if self.routes is not None and not (is_route and name in self.routes):
            return False
        return self.models is None or name in self.models

    def matches(self, ask: Ask) -> bool:
        """Whether every condition holds; that `can_match` is true for the name is taken for granted. Never raises."""
        for condition in self.conditions:  # noqa: SIM110 - a generator would cost more than the conditions
            if not condition(ask):
                return False
        return True


def compile_rules(rules: Sequence[RuleConfig]) -> tuple[Rule, ...]:
    """The rules of a checked configuration, in its order. Raises ValueError for what the check refuses."""
    return tuple(_compiled(rule, f"rules[{index}]") for index, rule in enumerate(rules))


def _compiled(rule: RuleConfig, place: str) -> Rule:
    when = rule.when
    return Rule(
        name=rule.name or place,
        use=rule.use,
        tier=rule.tier,
        strategy=rule.strategy,
        routes=frozenset(when.route) if when.route is not None else None,
        models=frozenset(when.model) if when.model is not None else None,
        conditions=conditions_of(when),
    )
