"""Checks of rules: the names they use, what they may look at, and whether they can ever decide anything."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from config.findings import Finding, Path, suggestion
from config.names import Names
from config.schema import Config
from config.schema_routes import RangeConfig, RouteConfig, RuleConfig, TimeOfDayConfig, WhenConfig

# What carries a secret: a rule about its value would put the secret into the file and its explanation.
_CREDENTIALS = frozenset(
    {
        "api-key",
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
        "x-amz-security-token",
        "x-api-key",
        "x-auth-token",
        "x-goog-api-key",
    }
)
# https://www.rfc-editor.org/rfc/rfc9110#name-tokens
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# What a strategy needs of a route.
_NEEDED = {"complexity": "tiers", "learned": "router_file"}
# Every rule is compared with those before it.
_MOST_COMPARED = 200


def check_rules(config: Config, names: Names) -> Iterator[Finding]:
    """Rules against models, routes, tiers and keys, and against each other."""
    for index, rule in enumerate(config.rules):
        path: Path = ("rules", index)
        yield from _check_names(rule, path, names)
        yield from _check_headers(rule.when.headers or {}, (*path, "when", "headers"))
        if rule.when.time is not None:
            yield from _check_time(rule.when.time, (*path, "when", "time"))
        if names.routes <= config.routes.keys() and set(rule.when.route or ()) <= names.routes:
            # Else a route that could not be read may have what the rule wants, or a wrong name was reported.
            yield from _check_action(config, rule, path)
    yield from _check_rule_names(config.rules)
    yield from _check_reachable(config)


def _check_names(rule: RuleConfig, path: Path, names: Names) -> Iterator[Finding]:
    if rule.use is not None and not names.can_be_asked(rule.use):
        hint = suggestion(rule.use, names.callable, "models")
        yield Finding("error", "unknown-model", f"There is no model or route '{rule.use}'.", (*path, "use"), hint=hint)
    for position, name in enumerate(rule.when.model or ()):
        if not names.can_be_asked(name):
            place = (*path, "when", "model", position)
            hint = suggestion(name, names.callable, "models")
            yield Finding("error", "unknown-model", f"There is no model or route '{name}'.", place, hint=hint)
    for position, name in enumerate(rule.when.key or ()):
        if name not in names.keys:
            place = (*path, "when", "key", position)
            hint = suggestion(name, names.keys, "keys")
            yield Finding("error", "unknown-key-name", f"There is no key '{name}'.", place, hint=hint)
    for position, name in enumerate(rule.when.route or ()):
        if name not in names.routes:
            place = (*path, "when", "route", position)
            hint = suggestion(name, names.routes, "routes")
            yield Finding("error", "unknown-route", f"There is no route '{name}'.", place, hint=hint)


def _check_headers(headers: Mapping[str, str], path: Path) -> Iterator[Finding]:
    seen: set[str] = set()
    for name, value in headers.items():
        place, lower = (*path, name), name.lower()
        if lower in _CREDENTIALS:
            message = f"A rule cannot look at '{name}': it carries credentials."
            yield Finding(
                "error", "credential-in-rule", message, place, "key", hint="Match on 'key' or 'tags' instead."
            )
        elif not _HEADER_NAME.fullmatch(name):
            hint = "A header's name has letters, digits and hyphens."
            yield Finding("error", "bad-name", f"'{name}' is no name of a header.", place, "key", hint=hint)
        elif not value.isascii() or not value.isprintable() or value != value.strip():
            message = "No header has this value: values are printable ASCII without blanks around them."
            yield Finding("error", "invalid-value", message, place)
        if lower in seen:
            message = f"The header '{name}' is here twice; its name has no case."
            yield Finding("error", "duplicate-header", message, place, "key", hint="Keep one of them.")
        seen.add(lower)


def _check_time(time: TimeOfDayConfig, path: Path) -> Iterator[Finding]:
    if time.after is None and time.before is None and not time.days:
        message = "A time needs one of 'after', 'before' and 'days'."
        yield Finding("error", "missing-key", message, path, "key", hint="time: {after: '08:00', before: '18:00'}")
    if time.timezone == "UTC":
        return
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only for rules about time

    try:
        ZoneInfo(time.timezone)
    except (KeyError, ValueError, OSError):
        message = f"There is no time zone '{time.timezone}'."
        hint = "Write it as 'Europe/Berlin'."
        yield Finding("error", "unknown-timezone", message, (*path, "timezone"), hint=hint)


def _check_action(config: Config, rule: RuleConfig, path: Path) -> Iterator[Finding]:
    """Whether what the rule sets exists where the rule can match."""
    routes = _routes_of(rule, config)
    if rule.use is None and config.routes and not routes:
        message = "This rule never matches: it is about no route, and only routes have tiers and strategies."
        yield Finding("error", "never-matches", message, (*path, "when"), "key", hint="To go to a model, write 'use'.")
        return
    if rule.when.route is not None and not routes:
        message = "This rule never matches: no name is both in 'route' and in 'model'."
        yield Finding("error", "never-matches", message, (*path, "when"), "key", hint="Give one of the two.")
    if rule.tier is not None:
        yield from _check_tier(rule, rule.tier, routes, path)
    needed = _NEEDED.get(rule.strategy or "")
    if needed is not None:
        yield from _check_needed(rule, needed, routes, path)


def _check_tier(rule: RuleConfig, tier: str, routes: Mapping[str, RouteConfig], path: Path) -> Iterator[Finding]:
    tiers = {name for route in routes.values() for name in route.tiers}
    if tier not in tiers:
        named = rule.when.route is not None and len(routes) == 1
        message = f"Route '{next(iter(routes))}' has no tier '{tier}'." if named else f"No route has a tier '{tier}'."
        yield Finding("error", "unknown-tier", message, (*path, "tier"), hint=suggestion(tier, tiers))
        return
    for position, name in enumerate(rule.when.route or ()):
        if name in routes and tier not in routes[name].tiers:
            message = f"Route '{name}' has no tier '{tier}': the rule does nothing there."
            yield Finding("warning", "unknown-tier", message, (*path, "when", "route", position))


def _check_needed(rule: RuleConfig, key: str, routes: Mapping[str, RouteConfig], path: Path) -> Iterator[Finding]:
    lacking = [name for name, route in routes.items() if not getattr(route, key)]
    hint = f"Give the route '{key}', or set another strategy."
    if len(lacking) == len(routes):
        message = f"The strategy '{rule.strategy}' needs '{key}', and no route that the rule is about has it."
        yield Finding("error", "missing-key", message, (*path, "strategy"), hint=hint)
        return
    for position, name in enumerate(rule.when.route or ()):
        if name in lacking:
            message = f"Route '{name}' has no '{key}', which the strategy '{rule.strategy}' needs."
            yield Finding("warning", "missing-key", message, (*path, "when", "route", position), hint=hint)


def _routes_of(rule: RuleConfig, config: Config) -> dict[str, RouteConfig]:
    """The routes that the rule can be about."""
    when = rule.when
    return {
        name: route
        for name, route in config.routes.items()
        if (when.route is None or name in when.route) and (when.model is None or name in when.model)
    }


def _check_rule_names(rules: Sequence[RuleConfig]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, rule in enumerate(rules):
        if rule.name is not None and first.setdefault(rule.name, index) != index:
            message = f"rules[{first[rule.name]}] has the same name, so explanations will not tell them apart."
            yield Finding("warning", "duplicate-name", message, ("rules", index, "name"), hint="Give it its own name.")


def _check_reachable(config: Config) -> Iterator[Finding]:
    conditions = [_conditions(rule.when) for rule in config.rules[:_MOST_COMPARED]]
    for index, rule in enumerate(config.rules[:_MOST_COMPARED]):
        for before in range(index):
            if _is_implied(conditions[before], conditions[index]) and _takes_all(config, before, rule):
                message = f"This rule is never reached: rules[{before}] matches whatever it would match."
                hint = "The first match wins: put the narrower rule first, or remove it."
                yield Finding("warning", "unreachable-rule", message, ("rules", index), hint=hint)
                break


def _takes_all(config: Config, before: int, rule: RuleConfig) -> bool:
    """Whether the earlier rule has something to set wherever the later one can match."""
    earlier = config.rules[before]
    if earlier.use is not None:
        return True
    if rule.use is not None:
        return False  # it can be about models, which have no tier and no strategy
    return earlier.tier is None or all(earlier.tier in route.tiers for route in _routes_of(rule, config).values())


def _conditions(when: WhenConfig) -> dict[str, Any]:
    """The conditions given, in a form that can be compared."""
    given = {name: getattr(when, name) for name in when.model_fields_set if getattr(when, name) is not None}
    for name, value in given.items():
        if isinstance(value, RangeConfig):
            given[name] = value.bounds()
        elif name == "headers":
            given[name] = {header.lower(): text for header, text in value.items()}
        elif isinstance(value, tuple):
            given[name] = frozenset(word.casefold() for word in value) if name in _KEYWORDS else frozenset(value)
    return given


_KEYWORDS = ("keywords_any", "keywords_all")
_ONE_OF = ("route", "model", "key", "tags", "keywords_any")


def _is_implied(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> bool:
    """Whether every condition of the earlier rule surely holds where those of the later one do."""
    return all(name in later and _holds(name, value, later[name]) for name, value in earlier.items())


def _holds(name: str, earlier: Any, later: Any) -> bool:
    if name in _ONE_OF:
        return bool(later <= earlier)
    if name == "keywords_all":
        return bool(earlier <= later)
    if name == "headers":
        return all(header in later and text in ("*", later[header]) for header, text in earlier.items())
    if name in ("input_tokens", "max_output_tokens"):
        return bool(earlier[0] <= later[0] and later[1] <= earlier[1])
    return bool(earlier == later)
