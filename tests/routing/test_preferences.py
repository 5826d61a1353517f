"""OpenRouter's extensions: what is read, what is refused, and the limits that come of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.constraints import NO_LIMITS
from routing.preferences import (
    NO_PREFERENCES,
    PreferenceError,
    Preferences,
    has_preferences,
    parse_preferences,
    parse_usd,
)

USD = 1_000_000_000


def parse(name="m", is_configured=lambda _: False, **body):
    return parse_preferences(name, body, is_configured)


def provider(**members):
    return parse(provider=members)[1]


def test_most_requests_have_none():
    body = {"model": "llama3.2:3b", "messages": []}
    assert not has_preferences(body, "llama3.2:3b")
    assert NO_PREFERENCES.limits() is NO_LIMITS
    assert parse() == ("m", NO_PREFERENCES)
    for member in ("models", "provider", "route"):
        assert has_preferences({**body, member: None}, "m")
        assert parse(**{member: None}) == ("m", NO_PREFERENCES)


@pytest.mark.parametrize(("name", "sort"), [("m:floor", "price"), ("m:nitro", "throughput")])
def test_suffixes(name, sort):
    assert has_preferences({}, name)
    assert parse(name) == ("m", Preferences(sort=sort))
    assert parse(name, lambda known: known == name) == (name, NO_PREFERENCES), "a configured name stands as it is"
    assert parse(name, provider={"sort": "latency"})[1].sort == "latency", "what is said in full wins"
    assert parse("m", models=[name.replace("m", "n")]) == ("m", Preferences(models=("n",), sort=sort))


@pytest.mark.parametrize("name", ["m:free", ":floor", "floor", "m:floor:1", "a/b:3b"])
def test_what_is_no_suffix(name):
    assert parse(name) == (name, NO_PREFERENCES)


def test_further_models_come_in_order_and_once():
    assert parse("a", models=["a", "c", "b", "c", "a:nitro"])[1].models == ("c", "b")
    assert parse(models=["a"], route="fallback")[1].models == ("a",)


def test_everything_at_once():
    name, found = parse(
        "a:floor",
        models=["b"],
        provider={
            "order": ["east", "west", "east"],
            "only": ["east", "west", "north"],
            "ignore": ["north"],
            "max_price": {"prompt": 0.1, "completion": "2.5", "request": 0},
            "allow_fallbacks": False,
            "require_parameters": True,
            "data_collection": "allow",
            "zdr": False,
            "preferred_min_throughput": 50,
            "something_new": [1],
        },
    )
    assert name == "a"
    assert found == Preferences(
        models=("b",),
        order=("east", "west"),
        only=frozenset({"east", "west", "north"}),
        ignore=frozenset({"north"}),
        sort="price",
        max_input_nusd_per_mtok=100_000_000,
        max_output_nusd_per_mtok=2_500_000_000,
        max_request_nusd=0,
        allow_fallbacks=False,
        require_parameters=True,
    )


def test_limits_of_preferences():
    limits = provider(ignore=["x"], only=["a", "b"], max_price={"prompt": 1}).limits()
    assert (limits.providers_only, limits.providers_ignore) == ({"a", "b"}, {"x"})
    assert limits.max_input_nusd_per_mtok == USD
    assert provider(order=["a"]).limits() is NO_LIMITS, "the others are fallbacks"
    assert provider(order=["a"], allow_fallbacks=False).limits().providers_only == {"a"}
    assert provider(order=["a", "b"], only=["b", "c"], allow_fallbacks=False).limits().providers_only == {"b"}
    assert provider(allow_fallbacks=False).limits() is NO_LIMITS
    assert Preferences(max_cost_nusd=5).limits().max_cost_nusd == 5


@pytest.mark.parametrize("sort", ["price", {"by": "price"}, {"by": "price", "partition": "none"}])
def test_sort_as_a_word_or_an_object(sort):
    assert provider(sort=sort).sort == "price"


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("models", {"models": "a"}),
        ("models", {"models": ["a", 1]}),
        ("models", {"models": [""]}),
        ("models", {"models": ["a"] * 33}),
        ("route", {"route": "auto"}),
        ("provider", {"provider": "openai"}),
        ("provider.order", {"provider": {"order": "openai"}}),
        ("provider.only", {"provider": {"only": [None]}}),
        ("provider.ignore", {"provider": {"ignore": {}}}),
        ("provider.sort", {"provider": {"sort": "quality"}}),
        ("provider.sort", {"provider": {"sort": ["price"]}}),
        ("provider.sort", {"provider": {"sort": {"by": 1}}}),
        ("provider.allow_fallbacks", {"provider": {"allow_fallbacks": "no"}}),
        ("provider.require_parameters", {"provider": {"require_parameters": 1}}),
        ("provider.max_price", {"provider": {"max_price": 1}}),
        ("provider.max_price.image", {"provider": {"max_price": {"image": 1}}}),
        ("provider.max_price.prompt", {"provider": {"max_price": {"prompt": -1}}}),
        ("provider.max_price.prompt", {"provider": {"max_price": {"prompt": "cheap"}}}),
        ("provider.max_price.prompt", {"provider": {"max_price": {"prompt": "NaN"}}}),
        ("provider.max_price.prompt", {"provider": {"max_price": {"prompt": True}}}),
        ("provider.data_collection", {"provider": {"data_collection": "deny"}}),
        ("provider.zdr", {"provider": {"zdr": True}}),
        ("provider.quantizations", {"provider": {"quantizations": ["int8"]}}),
        ("provider.enforce_distillable_text", {"provider": {"enforce_distillable_text": True}}),
    ],
)
def test_refusals_name_the_member(param, body):
    with pytest.raises(PreferenceError) as caught:
        parse(**body)
    assert caught.value.param == param
    assert f"'{param}'" in caught.value.message


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
_PROVIDER = st.dictionaries(
    st.sampled_from(["order", "only", "ignore", "sort", "max_price", "allow_fallbacks", "quantizations", "zdr"]),
    _ANYTHING | st.dictionaries(st.sampled_from(["prompt", "request", "by"]), _ANYTHING, max_size=2),
    max_size=3,
)


@given(
    name=st.text(max_size=5) | st.sampled_from(["a:floor", ":nitro"]),
    body=st.fixed_dictionaries(
        {}, optional={"models": _ANYTHING, "provider": _PROVIDER | _ANYTHING, "route": _ANYTHING}
    ),
)
def test_any_body_is_read_or_refused(name, body):
    try:
        parsed, found = parse_preferences(name, body)
    except PreferenceError as error:
        assert error.param.split(".")[0] in body
        return
    assert parsed == name or name.startswith(parsed)
    assert parsed not in found.models
    assert len(set(found.models)) == len(found.models)
    hash(found.limits())


@pytest.mark.parametrize(("text", "nusd"), [("0.02", 20_000_000), (" 1 ", USD), ("1e-9", 1), ("1000000", 10**15)])
def test_dollars(text, nusd):
    assert parse_usd(text) == nusd


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "nan", "inf", "1000001", "0,02", "$1", "1_0", "٣"])
def test_what_is_no_amount(text):
    with pytest.raises(ValueError, match="US dollars"):
        parse_usd(text)
