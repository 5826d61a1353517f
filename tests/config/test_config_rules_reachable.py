"""A rule that is called unreachable never decides, whatever is asked."""

import json
from typing import Any

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from config.load import load_bytes
from routing.ask import Ask
from routing.rules import compile_rules

_BASE: dict[str, Any] = {
    "providers": {"sim": {"kind": "mock"}},
    "models": {name: {"deployments": [{"provider": "sim", "model": name}]} for name in ("m", "n")},
    "routes": {
        "r": {"strategy": "complexity", "tiers": {"a": ["m"], "b": ["n"]}, "default_tier": "a"},
        "s": {"strategy": "ordered", "pool": ["m", "n"]},
    },
}
_TIERS = {"r": ("a", "b"), "s": ()}


def _some(values: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


_when = st.fixed_dictionaries(
    {},
    optional={
        "route": _some(["r", "s"]),
        "model": _some(["r", "s", "m", "sim/x"]),
        "has_tools": st.booleans(),
        "input_tokens": st.dictionaries(st.sampled_from(["gt", "ge", "lt", "le"]), st.integers(0, 40), min_size=1),
        "keywords_any": _some(["Ab", "ba"]),
        "keywords_all": _some(["aB", "ba"]),
        "tags": _some(["x", "y"]),
        "headers": st.dictionaries(st.sampled_from(["h", "I"]), st.sampled_from(["*", "1"]), min_size=1),
    },
)
_action = st.sampled_from([{"use": "m"}, {"use": "s"}, {"tier": "a"}, {"strategy": "cheapest"}])
_rules = st.lists(st.builds(lambda when, action: {"when": when, **action}, _when, _action), min_size=2, max_size=5)
_asks = st.builds(
    lambda name, text, tools, headers: Ask(
        name, {"messages": [{"role": "user", "content": text}], "tools": tools}, headers=headers
    ),
    st.sampled_from(["r", "s", "m", "sim/x"]),
    st.text("abAB ", max_size=60),
    st.sampled_from([[], [{}]]),
    st.dictionaries(st.sampled_from([b"h", b"i", b"x-signalbox-tags"]), st.sampled_from([b"1", b"x", b"x,y", b"y"])),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(_rules, st.lists(_asks, min_size=10, max_size=20))
def test_what_is_called_unreachable_is(rules: list[dict[str, Any]], asks: list[Ask]) -> None:
    loaded = load_bytes(json.dumps(_BASE | {"rules": rules}).encode(), file="f", environ={}, known_kinds=["mock"])
    assume(loaded.config is not None)
    assert loaded.config is not None
    flagged = {d.column for d in loaded.diagnostics if d.code == "unreachable-rule"}
    event(f"unreachable: {len(flagged)}")
    compiled = compile_rules(loaded.config.rules)
    starts = _starts(rules)
    for ask in asks:
        is_route = ask.name in _TIERS
        tiers = _TIERS.get(ask.name, ())
        for rule, start in zip(compiled, starts, strict=True):
            if rule.can_match(ask.name, is_route=is_route, tiers=tiers) and rule.matches(ask):
                assert start not in flagged
                break


def _starts(rules: list[dict[str, Any]]) -> list[int]:
    """The columns, from 1, at which the rules stand in the one line of JSON."""
    text = json.dumps(_BASE | {"rules": rules})
    at = text.index('"rules": [') + len('"rules": [')
    starts = []
    for rule in rules:
        starts.append(at + 1)
        at += len(json.dumps(rule)) + 2
    return starts
