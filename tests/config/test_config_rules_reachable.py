"""A rule that is called unreachable never decides, whatever is asked."""

import json
from typing import Any

import pytest
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


_CONDITIONS: dict[str, st.SearchStrategy[Any]] = {
    "route": _some(["r", "s"]),
    "model": _some(["r", "s", "m", "sim/x"]),
    "has_tools": st.booleans(),
    # The requests below have 8 to 18 tokens.
    "input_tokens": st.dictionaries(st.sampled_from(["gt", "ge", "lt", "le"]), st.integers(7, 19), min_size=1),
    "keywords_any": _some(["Ab", "ba"]),
    "keywords_all": _some(["aB", "ba"]),
    "tags": _some(["x", "y"]),
    "headers": st.dictionaries(st.sampled_from(["h", "I"]), st.sampled_from(["*", "1"]), min_size=1),
}
_names = st.lists(st.sampled_from(list(_CONDITIONS)), max_size=2, unique=True)
_when = _names.flatmap(lambda names: st.fixed_dictionaries({name: _CONDITIONS[name] for name in names}))
_action = st.sampled_from([{"use": "m"}, {"use": "s"}, {"tier": "a"}, {"strategy": "cheapest"}])
_rules = st.lists(st.builds(lambda when, action: {"when": when, **action}, _when, _action), min_size=2, max_size=5)
_asks = st.builds(
    lambda name, text, tools, headers: Ask(
        name, {"messages": [{"role": "user", "content": text}], "tools": tools}, headers=headers
    ),
    st.sampled_from(["r", "s", "m", "sim/x"]),
    st.sampled_from(["", "ab", "BA", "Ab ba", "ab ba " * 3, "cd " * 14]),
    st.sampled_from([[], [{}]]),
    st.dictionaries(st.sampled_from([b"h", b"i", b"x-signalbox-tags"]), st.sampled_from([b"1", b"x", b"x,y", b"y"])),
)


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
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


def _is_flagged(*rules: dict[str, Any]) -> bool:
    """Whether the last one is called unreachable."""
    loaded = load_bytes(json.dumps(_BASE | {"rules": rules}).encode(), file="f", environ={}, known_kinds=["mock"])
    assert loaded.config is not None, loaded.diagnostics
    return any(d.code == "unreachable-rule" and d.column == _starts(list(rules))[-1] for d in loaded.diagnostics)


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ({}, {"has_tools": True}, True),
        ({"has_tools": True}, {}, False),
        ({"has_tools": True}, {"has_tools": False}, False),
        ({"tags": ["x", "y"]}, {"tags": ["x"]}, True),
        ({"tags": ["x"]}, {"tags": ["x", "y"]}, False),
        ({"keywords_any": ["a", "b"]}, {"keywords_any": ["B"]}, True),
        ({"keywords_any": ["a"]}, {"keywords_any": ["ab"]}, False),
        ({"keywords_all": ["a"]}, {"keywords_all": ["b", "A"]}, True),
        ({"keywords_all": ["a", "b"]}, {"keywords_all": ["a"]}, False),
        ({"input_tokens": {"gt": 10}}, {"input_tokens": {"gt": 100, "lt": 200}}, True),
        ({"input_tokens": {"gt": 10}}, {"input_tokens": {"ge": 11}}, True),
        ({"input_tokens": {"gt": 10}}, {"input_tokens": {"ge": 10}}, False),
        ({"input_tokens": {"lt": 100}}, {"input_tokens": {"le": 100}}, False),
        ({"input_tokens": {"gt": 10}}, {"max_output_tokens": {"gt": 10}}, False),
        ({"headers": {"H": "*"}}, {"headers": {"h": "1", "i": "2"}}, True),
        ({"headers": {"h": "1"}}, {"headers": {"h": "*"}}, False),
        ({"headers": {"h": "1"}}, {"headers": {"h": "2"}}, False),
        ({"time": {"after": "08:00"}}, {"time": {"after": "08:00"}}, True),
        ({"time": {"after": "08:00"}}, {"time": {"after": "09:00"}}, False),
        ({"regex": "a"}, {"regex": "a", "has_tools": True}, True),
        ({"regex": "a"}, {"regex": "ab"}, False),
    ],
)
def test_which_conditions_follow_from_which(earlier: dict[str, Any], later: dict[str, Any], expected: bool) -> None:
    assert _is_flagged({"when": earlier, "use": "m"}, {"when": later, "use": "n"}) is expected


def test_a_rule_that_sets_a_tier_leaves_the_rest_to_others() -> None:
    anything: dict[str, Any] = {"when": {}}
    of_r = {"when": {"route": "r"}}
    assert not _is_flagged({**anything, "tier": "a"}, {**anything, "use": "m"})
    assert not _is_flagged({**anything, "tier": "a"}, {**anything, "strategy": "cheapest"})
    assert _is_flagged({**anything, "tier": "a"}, {**of_r, "strategy": "cheapest"})
    assert _is_flagged({**anything, "strategy": "cheapest"}, {**anything, "tier": "a"})
    assert not _is_flagged({**of_r, "use": "m"}, {**anything, "tier": "a"})


def test_a_long_list_of_rules_is_checked_in_no_time() -> None:
    """Each with each up to some number: beyond it nothing is compared."""
    different = [{"when": {"tags": f"t{n}"}, "use": "m"} for n in range(400)]
    assert not _is_flagged(*different)
    assert not _is_flagged(*different, different[0])
    assert _is_flagged(*different[:100], different[0])


def _starts(rules: list[dict[str, Any]]) -> list[int]:
    """The columns, from 1, at which the rules stand in the one line of JSON."""
    text = json.dumps(_BASE | {"rules": rules})
    at = text.index('"rules": [') + len('"rules": [')
    starts = []
    for rule in rules:
        starts.append(at + 1)
        at += len(json.dumps(rule)) + 2
    return starts
