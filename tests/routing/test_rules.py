"""Rules: each condition true and false, which names a rule is about, and that the first match is the one in front."""

from typing import Any

import pytest
from pydantic import ValidationError

from config.schema_routes import RuleConfig, WhenConfig
from routing.ask import Ask
from routing.rule_conditions import _CONDITIONS
from routing.rules import Rule, compile_rules

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def rule(when: dict[str, Any], **action: Any) -> Rule:
    action = action or {"use": "large"}
    return compile_rules([RuleConfig.model_validate({"when": when, **action})])[0]


def said(*texts: str, **members: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text} for text in texts], **members}


def ask(body: dict[str, Any] | None = None, **members: Any) -> Ask:
    return Ask("auto", said("hello") if body is None else body, **members)


def with_headers(headers: dict[str, str]) -> Ask:
    return ask(headers={name.encode(): value.encode() for name, value in headers.items()})


CASES: list[tuple[dict[str, Any], Ask, bool]] = [
    ({}, ask(), True),
    ({"key": "team-a"}, ask(key="team-a"), True),
    ({"key": ["team-b", "team-a"]}, ask(key="team-a"), True),
    ({"key": "team-a"}, ask(key="team-ab"), False),
    ({"has_tools": True}, ask(said("x", tools=[TOOL])), True),
    ({"has_tools": True}, ask(said("x", functions=[TOOL["function"]])), True),
    ({"has_tools": True}, ask(said("x", tools=[])), False),
    ({"has_tools": True}, ask(said("x", tools={"a": 1})), False),
    ({"has_tools": True}, ask(), False),
    ({"has_tools": False}, ask(), True),
    ({"has_tools": False}, ask(said("x", tools=[TOOL])), False),
    ({"response_format": "json_object"}, ask(said("x", response_format={"type": "json_object"})), True),
    ({"response_format": "json_object"}, ask(said("x", response_format={"type": "json_schema"})), False),
    ({"response_format": "json_schema"}, ask(said("x", response_format={"type": "json_schema"})), True),
    ({"response_format": "json_object"}, ask(), False),
    ({"response_format": "text"}, ask(), True),
    ({"response_format": "text"}, ask(said("x", response_format={"type": "text"})), True),
    ({"response_format": "text"}, ask(said("x", response_format={"type": ["text"]})), False),
    ({"max_output_tokens": {"le": 100}}, ask(said("x", max_tokens=100)), True),
    ({"max_output_tokens": {"lt": 100}}, ask(said("x", max_completion_tokens=100)), False),
    ({"max_output_tokens": {"gt": 99.5}}, ask(said("x", max_completion_tokens=100)), True),
    ({"max_output_tokens": {"ge": 0}}, ask(), False),
    ({"input_tokens": {"gt": 1000}}, ask(said("word " * 5_000)), True),
    ({"input_tokens": {"gt": 1000}}, ask(), False),
    ({"input_tokens": {"lt": 1000}}, ask(), True),
    ({"input_tokens": {"ge": 10, "lt": 1000}}, ask(said("word " * 100)), True),
    ({"input_tokens": {"ge": 10, "lt": 1000}}, ask(said("word " * 5_000)), False),
    ({"has_images": True}, ask({"messages": [{"role": "user", "content": [IMAGE]}]}), True),
    ({"has_images": True}, ask({"messages": [{"role": "user", "content": [IMAGE]}, *said("more")["messages"]]}), True),
    ({"has_images": True}, ask(), False),
    ({"has_images": False}, ask(), True),
    ({"has_images": False}, ask({"messages": [{"role": "user", "content": [IMAGE]}]}), False),
    ({"headers": {"X-Team": "red"}}, with_headers({"x-team": "red"}), True),
    ({"headers": {"X-Team": "red"}}, with_headers({"x-team": "Red"}), False),
    ({"headers": {"X-Team": "red"}}, with_headers({"x-other": "red"}), False),
    ({"headers": {"x-team": "*"}}, with_headers({"x-team": ""}), True),
    ({"headers": {"x-team": "*"}}, with_headers({}), False),
    ({"headers": {"x-team": "red", "x-env": "*"}}, with_headers({"x-team": "red"}), False),
    ({"headers": {"x-team": "red", "x-env": "*"}}, with_headers({"x-team": "red", "x-env": "dev"}), True),
    ({"tags": "batch"}, with_headers({"x-signalbox-tags": "nightly, batch"}), True),
    ({"tags": ["a", "nightly"]}, with_headers({"x-signalbox-tags": "nightly,batch"}), True),
    ({"tags": "batch"}, with_headers({"x-signalbox-tags": "batches"}), False),
    ({"tags": "batch"}, with_headers({}), False),
    ({"keywords_any": ["prove that", "lemma"]}, ask(said("Please PROVE that 2 is even")), True),
    ({"keywords_any": ["prove that", "lemma"]}, ask(said("Please approve it")), False),
    ({"keywords_any": ["STRASSE"]}, ask(said("Wo ist die Straße?")), True),
    ({"keywords_any": ["проверь"]}, ask(said("ПРОВЕРЬ это")), True),
    ({"keywords_any": ["first"]}, ask(said("first", "second")), False),
    ({"keywords_any": ["secret"]}, ask(said("<system-reminder>secret</system-reminder>hello")), False),
    ({"keywords_all": ["sum", "list"]}, ask(said("Sum up the list")), True),
    ({"keywords_all": ["sum", "list"]}, ask(said("Sum it up")), False),
    ({"regex": r"\bSELECT\b.+\bFROM\b"}, ask(said("explain SELECT a FROM b")), True),
    ({"regex": r"\bSELECT\b.+\bFROM\b"}, ask(said("select a from b")), False),
    ({"regex": r"(?i)\bselect\b"}, ask(said("SELECT it")), True),
    ({"regex": r"^\p{Greek}+$"}, ask(said("αβγ")), True),
    ({"regex": r"^a.c$"}, ask(said("a\ud800c")), True),
    ({"regex": "x"}, ask({"prompt": "a box"}), True),
    ({"regex": "x"}, ask({"input": ["a box"]}), True),
    ({"regex": "^$"}, ask({}), True),
]


@pytest.mark.parametrize(("when", "request_", "expected"), CASES, ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)])
def test_a_condition(when: dict[str, Any], request_: Ask, expected: bool) -> None:
    assert rule(when).matches(request_) is expected


def test_every_condition_of_the_schema_is_looked_at() -> None:
    made = {name for name, _ in _CONDITIONS} | {"keywords_any", "keywords_all", "regex"}
    assert made | {"route", "model"} == set(WhenConfig.model_fields)
    assert {name for when, _, _ in CASES for name in when} | {"time"} == made


def test_all_conditions_must_hold() -> None:
    both = rule({"has_tools": True, "keywords_any": ["prove"], "regex": "lemma [0-9]"})
    tools = {"tools": [TOOL]}
    assert both.matches(ask(said("prove lemma 7", **tools)))
    assert not both.matches(ask(said("prove lemma 7")))
    assert not both.matches(ask(said("show lemma 7", **tools)))
    assert not both.matches(ask(said("prove lemma x", **tools)))


def test_keywords_any_and_all_must_both_hold() -> None:
    both = rule({"keywords_any": ["cat", "dog"], "keywords_all": ["vet", "bill"]})
    assert both.matches(ask(said("The vet sent a bill for the dog")))
    assert not both.matches(ask(said("The vet sent a bill")))
    assert not both.matches(ask(said("The vet saw the dog")))


def test_the_end_of_a_long_text_is_read_as_well() -> None:
    found = rule({"keywords_any": ["needle"]})
    assert found.matches(ask(said("hay " * 50_000 + "needle")))
    assert found.matches(ask(said("needle" + " hay" * 50_000)))


def test_the_first_match_is_in_front() -> None:
    rules = compile_rules(
        [
            RuleConfig.model_validate({"when": {"has_tools": True}, "use": "a"}),
            RuleConfig.model_validate({"name": "long", "when": {"keywords_any": ["x"]}, "use": "b"}),
            RuleConfig.model_validate({"when": {}, "tier": "simple", "strategy": "cheapest"}),
        ]
    )
    assert [r.name for r in rules] == ["rules[0]", "long", "rules[2]"]
    assert [(r.use, r.tier, r.strategy) for r in rules] == [
        ("a", None, None),
        ("b", None, None),
        (None, "simple", "cheapest"),
    ]

    def first(request: Ask) -> str:
        return next(r.name for r in rules if r.matches(request))

    assert first(ask(said("x", tools=[TOOL]))) == "rules[0]"
    assert first(ask(said("x"))) == "long"
    assert first(ask(said("y"))) == "rules[2]"


@pytest.mark.parametrize(
    ("when", "action", "name", "is_route", "expected"),
    [
        ({}, {"use": "large"}, "sim/anything", False, True),
        ({}, {"use": "large"}, "auto", True, True),
        ({"route": "auto"}, {"use": "large"}, "auto", True, True),
        ({"route": "auto"}, {"use": "large"}, "auto", False, False),
        ({"route": ["auto", "other"]}, {"use": "large"}, "frugal", True, False),
        ({"model": "small"}, {"use": "large"}, "small", False, True),
        ({"model": "auto"}, {"use": "large"}, "auto", True, True),
        ({"model": "small"}, {"use": "large"}, "auto", True, False),
        ({"model": "sim/x"}, {"use": "large"}, "sim/x", False, True),
        ({"route": "auto", "model": "small"}, {"use": "large"}, "auto", True, False),
        ({}, {"tier": "simple"}, "auto", True, True),
        ({}, {"tier": "simple"}, "small", False, False),
        ({}, {"strategy": "cheapest"}, "small", False, False),
        ({"model": ["small", "auto"]}, {"strategy": "cheapest"}, "auto", True, True),
    ],
)
def test_which_names_a_rule_is_about(
    when: dict[str, Any], action: dict[str, Any], name: str, is_route: bool, expected: bool
) -> None:
    assert rule(when, **action).can_match(name, is_route=is_route) is expected


def test_a_tier_is_set_where_it_exists() -> None:
    hard = rule({}, tier="complex")
    assert hard.can_match("auto", is_route=True, tiers=("simple", "complex"))
    assert not hard.can_match("frugal", is_route=True, tiers=())
    assert rule({}).can_match("frugal", is_route=True, tiers=())


def test_names_are_compared_as_a_whole_and_kept_for_whoever_sorts_rules() -> None:
    found = rule({"route": "auto", "model": ["auto", "b"]})
    assert found.routes == frozenset({"auto"})
    assert found.models == frozenset({"auto", "b"})
    assert (rule({}).routes, rule({}).models) == (None, None)


@pytest.mark.parametrize(
    ("bounds", "least", "most"),
    [
        ({"gt": 10}, 11, float("inf")),
        ({"gt": 10.5}, 11, float("inf")),
        ({"ge": 10}, 10, float("inf")),
        ({"ge": 10.5}, 11, float("inf")),
        ({"lt": 10}, 0, 9),
        ({"lt": 10.5}, 0, 10),
        ({"le": 10}, 0, 10),
        ({"gt": 3, "ge": 5, "lt": 9, "le": 7}, 5, 7),
        ({"gt": -5}, 0, float("inf")),
    ],
)
def test_bounds_of_whole_numbers(bounds: dict[str, float], least: int, most: float) -> None:
    when = WhenConfig.model_validate({"input_tokens": bounds})
    assert when.input_tokens is not None
    assert when.input_tokens.bounds() == (least, most)


@pytest.mark.parametrize("bounds", [{"gt": 5, "lt": 6}, {"lt": 0}, {"gt": 5, "lt": 5}, {"ge": 5.2, "le": 5.8}])
def test_a_range_without_a_whole_number_is_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="no whole number is in this range"):
        WhenConfig.model_validate({"input_tokens": bounds})
