"""Who is in which arm, canary or mirror: by the shares, always the same, and moved as little as possible."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from config.schema_routes import RouteConfig
from routing.ask import Ask
from routing.experiments import Assignment, experiments_of

UNITS = 4_000


def route(**parts):
    return RouteConfig.model_validate({"pool": ("small",), **parts})


def experiment(by="session", name="test", **arms):
    arms = {arm: given if isinstance(given, dict) else {"share": given} for arm, given in arms.items()}
    return {"experiment": {"name": name, "by": by, "arms": arms}}


def compiled(name="auto", **parts):
    found = experiments_of(name, route(**parts))
    assert found is not None
    return found


def ask(session="1", key="k", allowed=None, **body):
    headers = {b"x-signalbox-session": session.encode()} if session is not None else {}
    return Ask("auto", body, key=key, headers=headers, allowed=allowed)


def assigned(experiments, asks, seed=1):
    rng = Random(seed)
    return [experiments.assign(one, rng) for one in asks]


def sessions(count=UNITS):
    return [ask(str(number)) for number in range(count)]


def arms(experiments, asks=None):
    return [found.arm for found in assigned(experiments, asks or sessions())]


def shares(found):
    return {name: count / len(found) for name, count in Counter(found).items()}


def test_a_route_that_tries_nothing_out_costs_nothing():
    assert experiments_of("auto", route()) is None
    assert experiments_of("auto", route(canary={"model": "new", "share": 0})) is None


# Arms.


def test_arms_get_their_shares():
    found = shares(arms(compiled(**experiment(control=0.6, cheap=0.3, best=0.1))))
    assert found == pytest.approx({"control": 0.6, "cheap": 0.3, "best": 0.1}, abs=0.03)


def test_an_arm_without_a_share_gets_nothing():
    assert shares(arms(compiled(**experiment(control=1, cheap=0)))) == {"control": 1.0}


def test_a_unit_is_always_in_the_same_arm():
    one, other = (compiled(**experiment(control=0.5, cheap=0.5)) for _ in range(2))
    assert arms(one) == arms(other)
    assert [a.arm for a in assigned(one, sessions(), seed=1)] == [a.arm for a in assigned(one, sessions(), seed=2)]


def test_the_order_of_the_arms_does_not_matter():
    assert arms(compiled(**experiment(a=0.2, b=0.3, c=0.5))) == arms(compiled(**experiment(c=0.5, b=0.3, a=0.2)))


def test_known_units_are_where_they_were_when_this_was_written():
    found = arms(compiled(**experiment(control=0.5, cheap=0.5)), sessions(12))
    assert " ".join(found) == ("cheap cheap cheap cheap control control cheap cheap cheap control control control")


def test_another_experiment_deals_anew():
    one, other = (arms(compiled(**experiment(name=name, control=0.5, cheap=0.5))) for name in ("one", "other"))
    same = sum(a == b for a, b in zip(one, other, strict=True)) / UNITS
    assert same == pytest.approx(0.5, abs=0.03)


def test_routes_that_share_an_experiment_share_the_arms():
    parts = experiment(control=0.5, cheap=0.5)
    assert arms(compiled("auto", **parts)) == arms(compiled("other", **parts))


@settings(max_examples=60)
@given(before=st.lists(st.integers(0, 20), min_size=3, max_size=5), data=st.data())
def test_a_unit_moves_only_to_an_arm_that_grew_against_its_own(before, data):
    after = data.draw(st.lists(st.integers(0, 20), min_size=len(before), max_size=len(before)))
    before, after = ([weight + (1 if not any(weights) else 0) for weight in weights] for weights in (before, after))
    old, new = (dict(zip("abcde", (w / sum(weights) for w in weights), strict=False)) for weights in (before, after))
    pairs = zip(
        arms(compiled(**experiment(**old)), sessions(300)),
        arms(compiled(**experiment(**new)), sessions(300)),
        strict=True,
    )
    for was, now in pairs:
        assert was == now or new[now] * old[was] >= old[now] * new[was] - 1e-9


def test_a_changed_share_moves_as_few_units_as_can_be():
    old = arms(compiled(**experiment(a=1 / 3, b=1 / 3, c=1 / 3)))
    new = arms(compiled(**experiment(a=0.5, b=0.25, c=0.25)))
    moved = [(was, now) for was, now in zip(old, new, strict=True) if was != now]
    assert len(moved) / UNITS == pytest.approx(1 / 6, abs=0.02)
    assert {now for _, now in moved} == {"a"}


def test_an_arm_says_what_it_means():
    parts = experiment(same=0.2, route={"share": 0.4, "use": "frugal"}, kind={"share": 0.4, "strategy": "weighted"})
    found = {a.arm: a for a in assigned(compiled(**parts), sessions(200))}
    assert found == {
        "same": Assignment("same"),
        "route": Assignment("route", use="frugal"),
        "kind": Assignment("kind", strategy="weighted"),
    }


# Units.


def test_all_turns_of_a_conversation_are_in_one_arm():
    experiments = compiled(**experiment(control=0.5, cheap=0.5))
    said = [{"role": "user", "content": "Hello"}]
    more = [*said, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Go on"}]
    for key in map(str, range(50)):
        first, second = (experiments.assign(ask(None, key, messages=m), Random()) for m in (said, more))
        assert first == second


def test_a_session_that_was_worked_out_before_is_taken():
    experiments = compiled(**experiment(control=0.5, cheap=0.5), canary={"model": "new", "share": 0.5})
    given_sessions = [experiments.assign(ask("1"), Random(), str(n).encode()) for n in range(100)]
    assert len(set(given_sessions)) > 2


def test_all_requests_of_a_key_are_in_one_arm():
    experiments = compiled(**experiment("key", control=0.5, cheap=0.5))
    assert len(set(arms(experiments, sessions(100)))) == 1
    assert len(set(arms(experiments, [ask(key=str(n)) for n in range(100)]))) == 2


def test_all_requests_for_a_user_are_in_one_arm_and_without_one_in_none():
    experiments = compiled(**experiment("user", control=0.5, cheap=0.5))
    for field in ("user", "safety_identifier"):
        assert len(set(arms(experiments, [ask(str(n), **{field: "anna"}) for n in range(100)]))) == 1
        assert len(set(arms(experiments, [ask(**{field: str(n)}) for n in range(100)]))) == 2
    assert len(set(arms(experiments, [ask(key=str(n), user="anna") for n in range(100)]))) == 2
    assert set(arms(experiments, [ask(), ask(user=" "), ask(user=7), ask(user=["x"])])) == {None}


def test_requests_by_themselves_are_drawn():
    experiments = compiled(**experiment("request", control=0.7, cheap=0.3))
    found = arms(experiments, [ask("1")] * UNITS)
    assert shares(found) == pytest.approx({"control": 0.7, "cheap": 0.3}, abs=0.03)


# Canaries.


def canaries(share, asks=None, name="auto", **more):
    found = assigned(compiled(name, canary={"model": "new", "share": share}, **more), asks or sessions())
    return {number for number, one in enumerate(found) if one.is_canary}


def test_a_canary_gets_its_share_and_keeps_it_as_it_grows():
    few, many = canaries(0.05), canaries(0.2)
    assert len(few) / UNITS == pytest.approx(0.05, abs=0.015)
    assert len(many) / UNITS == pytest.approx(0.2, abs=0.025)
    assert few < many
    assert len(canaries(1)) == UNITS


def test_a_canary_is_a_model_to_try_first():
    assert assigned(compiled(canary={"model": "new", "share": 1}), [ask()]) == [Assignment(canary="new")]


def test_canaries_of_two_routes_take_other_conversations():
    one, other = canaries(0.5), canaries(0.5, name="other")
    assert len(one & other) / UNITS == pytest.approx(0.25, abs=0.03)


def test_a_canary_leaves_alone_what_an_arm_sends_elsewhere():
    parts = experiment(control=0.5, cheap={"share": 0.5, "use": "frugal"})
    found = assigned(compiled(canary={"model": "new", "share": 1}, **parts), sessions(100))
    assert {(one.arm, one.canary) for one in found} == {("control", "new"), ("cheap", None)}


# Mirrors.


def test_a_mirror_gets_its_share_of_the_requests():
    experiments = compiled(mirror={"model": "other", "share": 0.1, "max_in_flight": 7})
    found = shares([one.mirror for one in assigned(experiments, [ask("1")] * UNITS)])
    assert found == pytest.approx({"other": 0.1, None: 0.9}, abs=0.02)
    assert experiments.max_mirrors == 7


def test_a_mirror_gets_only_what_the_key_allows():
    experiments = compiled(mirror={"model": "other", "share": 1})
    for allowed, mirror in ((None, "other"), (frozenset({"other"}), "other"), (frozenset({"small"}), None)):
        assert experiments.assign(ask(allowed=allowed), Random()).mirror == mirror


def test_without_a_mirror_there_are_no_copies():
    experiments = compiled(canary={"model": "new", "share": 1})
    assert experiments.max_mirrors == 0
    assert experiments.assign(ask(), Random()).mirror is None


# What cannot be configured.


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (experiment(control=1), "at least two arms"),
        (experiment(control=0.5, cheap=0.4), "make 0.9, not 1"),
        (experiment(a=0.5, b={"share": 0.5, "use": "x", "strategy": "ordered"}), "cannot stand beside"),
        ({"mirror": {"model": "m", "share": 0}}, "greater than 0"),
        ({"canary": {"model": "m", "share": 1.5}}, "less than or equal to 1"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused(parts, says):
    with pytest.raises(ValidationError, match=says):
        route(**parts)


def test_shares_are_numbers_as_people_write_them():
    assert compiled(**experiment(a=0.1, b=0.2, c=0.7)).arms
    assert compiled(**experiment(a=0.333333, b=0.333333, c=0.333334)).arms
