"""Answers by meaning, over real sockets: given only after it was learnt that they may be, to whom they belong, and
forgotten, checked and doubted like nothing else.
"""

import json
import time
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from gateway.cli.main import signalbox
from tests.fakes.gateway import ADMIN_KEY, Gateway
from tests.fakes.http import send
from tests.fakes.upstream import FakeUpstream
from tests.gateway.semantic_scene import CAPITALS, KEYS, WORDINGS, ask, config, provider, teach, wait_calls

pytestmark = pytest.mark.e2e


class Taught(NamedTuple):
    """A gateway that has learnt from the key `ann`, and checks every hit; and two pairs of wordings that it takes for
    one another, of which the second is for doubts: they stay.
    """

    gateway: Gateway
    pair: tuple[str, str]
    doubted: tuple[str, str]


@pytest.fixture(scope="module")
def _taught(_upstream_process: FakeUpstream) -> Iterator[Taught]:
    _upstream_process.reset()
    _upstream_process.on(provider)
    with Gateway(config(_upstream_process, shadow_ratio=1.0)) as gateway:
        assert teach(gateway) > 150, "nothing is served before there is evidence"
        pairs: list[tuple[str, str]] = []
        for pair in combinations(WORDINGS, 2):
            if not any(set(pair) & set(other) for other in pairs) and _is_taken_for(gateway, *pair):
                pairs.append(pair)
            if len(pairs) == 2:
                break
        yield Taught(gateway, *pairs)


def _is_taken_for(gateway: Gateway, first: str, other: str) -> bool:
    gateway.admin("cache/purge", {"all": True})
    uses = [ask(gateway, wording.format("Austria")).headers["x-signalbox-cache"] for wording in (first, other)]
    return uses == ["miss", "semantic"]


@pytest.fixture
def taught(_taught: Taught, upstream: FakeUpstream) -> Taught:
    """Without anything kept, but with what it learnt."""
    upstream.on(provider)
    _taught.gateway.admin("cache/purge", {"all": True})
    return _taught


@pytest.fixture
def gateway(taught: Taught) -> Gateway:
    return taught.gateway


def _hit(taught: Taught, country: str):
    """A question, and the hit of another that means the same."""
    first, again = (ask(taught.gateway, wording.format(country)) for wording in taught.pair)
    assert [one.headers["x-signalbox-cache"] for one in (first, again)] == ["miss", "semantic"]
    return first, again


def _asked_about(upstream: FakeUpstream, country: str) -> int:
    """Upstream calls; one that checks a hit of before may still come."""
    return sum(country in one.json["messages"][-1]["content"] for one in upstream.requests())


def _wait_asked_about(upstream: FakeUpstream, country: str, count: int) -> None:
    deadline = time.monotonic() + 20
    while (found := _asked_about(upstream, country)) < count:
        assert time.monotonic() < deadline, f"{found} calls"
        time.sleep(0.01)
    assert found == count


def test_other_words_get_the_answer_of_before(taught, gateway, upstream):
    first, again = _hit(taught, "Ireland")
    assert again.text == first.text == "Dublin"
    assert 0.5 < float(again.headers["x-signalbox-cache-score"]) <= 1
    assert (again.headers["x-signalbox-cost-usd"], again.headers["x-signalbox-attempts"]) == ("0", "0")
    assert again.json["usage"] == first.json["usage"] | {"is_cached": True}
    assert ask(gateway, taught.pair[1].format("Peru")).text == "Lima", "of another country there is no answer yet"
    streamed = ask(gateway, taught.pair[1].format("Ireland"), stream=True)
    assert (streamed.headers["x-signalbox-cache"], streamed.text) == ("semantic", "Dublin")
    assert streamed.frames[-1] == "data: [DONE]"
    line = gateway.wait_log(again.headers["x-request-id"])
    assert line["cache"] == "semantic"
    assert not any(word in json.dumps(line) for word in ("Ireland", "Dublin", KEYS["ann"]))


def test_it_is_nobody_elses_and_of_no_other_conditions(taught, gateway):
    _hit(taught, "Denmark")
    asked = taught.pair[1].format("Denmark")
    system = [{"role": "system", "content": "Answer in verse."}, {"role": "user", "content": asked}]
    uses = {
        "another key": ask(gateway, asked, "bob"),
        "a group": ask(gateway, asked, "cat"),
        "another route": ask(gateway, asked, route="checked"),
        "a route without": ask(gateway, asked, route="plain"),
        "a system prompt": ask(gateway, asked, messages=system),
        "sampling": ask(gateway, asked, top_p=0.5),
        "temperature": ask(gateway, asked, temperature=0.9),
        "no store": send(
            f"{gateway.base_url}/chat/completions",
            {"model": "taught", "messages": [{"role": "user", "content": asked}]},
            headers={"authorization": f"Bearer {KEYS['ann']}", "cache-control": "no-cache"},
        ),
    }
    assert {name: one.headers["x-signalbox-cache"] for name, one in uses.items()} == dict.fromkeys(uses, "miss")


def test_a_purge_reaches_it(taught, gateway):
    _hit(taught, "Sweden")
    assert gateway.admin("cache").json["semantic"]["entries"] == 1
    assert gateway.admin("cache/purge", {"model": "taught"}).json["purged"] == 1
    assert gateway.admin("cache").json["semantic"]["entries"] == 0
    assert ask(gateway, taught.pair[1].format("Sweden")).headers["x-signalbox-cache"] == "miss"


def _tell(gateway, request_id, key="ann", **more):
    body = {"request_id": request_id, "wrong_cache_hit": True} | more
    return send(f"{gateway.base_url}/feedback", body, headers={"authorization": f"Bearer {KEYS[key]}"})


def test_a_wrong_hit_is_forgotten_and_learnt_from(taught, gateway):
    first, again = (ask(gateway, wording.format("Poland")) for wording in taught.doubted)
    assert again.headers["x-signalbox-cache"] == "semantic"
    labels = gateway.admin("cache").json["semantic"]["labels"]
    request_id = again.headers["x-request-id"]
    refused = [_tell(gateway, request_id, "bob"), _tell(gateway, first.headers["x-request-id"])]
    assert [one.error["code"] for one in refused] == ["request_not_found"] * 2
    assert [_tell(gateway, request_id, **more).status for more in ({"score": 1}, {"wrong_cache_hit": False})] == [
        400
    ] * 2
    told = _tell(gateway, request_id)
    assert (told.status, told.json["entry"]) == (200, again.headers["x-signalbox-cache-entry"])
    assert gateway.admin("cache").json["semantic"]["labels"] > labels
    assert ask(gateway, taught.doubted[0].format("Poland")).headers["x-signalbox-cache"] == "miss", "it is gone"
    assert _tell(gateway, request_id).status == 404
    assert gateway.wait_metric("signalbox_cache_labels_total", 1, source="feedback", verdict="wrong") == 1


def test_a_hit_is_checked_by_a_call_that_is_billed_and_counted(taught, gateway, upstream):
    before = gateway.metric("signalbox_cache_checks_total", result="done")
    _hit(taught, "Greece")
    _wait_asked_about(upstream, "Greece", 2)
    gateway.wait_metric("signalbox_cache_checks_total", before + 1, result="done")
    assert gateway.metric("signalbox_cache_checks_cost_usd_total") > 0
    wait_calls(gateway, "judge", int(before) + 1)
    assert gateway.metric("signalbox_cache_checked_hits", route="taught") >= 1
    assert gateway.metric("signalbox_cache_wrong_hits_ratio", route="taught") == 0
    assert 0 < gateway.metric("signalbox_cache_wrong_hits_upper_ratio", route="taught") < 1


def test_no_check_for_who_has_no_budget_left(taught, gateway, upstream, _upstream_process):
    _hit(taught, "Malta")
    _wait_asked_about(upstream, "Malta", 2)
    poor = config(_upstream_process, shadow_ratio=1.0)
    poor["budgets"] = {"nothing": {"limit_usd": 0.0000001}}
    poor["keys"][0]["budget"] = "nothing"
    gateway.write(poor)
    try:
        assert gateway.reload().status == 200
        again = ask(gateway, taught.pair[1].format("Malta"))
        assert again.headers["x-signalbox-cache"] == "semantic", "a hit costs nothing, and outlives a reload"
        gateway.wait_metric("signalbox_cache_checks_total", 1, result="refused")
        assert _asked_about(upstream, "Malta") == 2
    finally:
        gateway.write(config(_upstream_process, shadow_ratio=1.0))
        assert gateway.reload().status == 200


def test_the_command_shows_what_decides(taught, gateway):
    _hit(taught, "Cuba")
    cases = {
        taught.pair[0].format("Cuba"): "kept",
        taught.pair[1].format("Cuba"): "served",
        taught.pair[0].format("Chile"): "guard",
        "What is the latest news from Cuba?": "time",
    }
    told = {}
    for prompt in cases:
        arguments = ["cache", "explain", prompt, "--route", "taught", "--key", "ann", "--url", gateway.admin_url]
        done = CliRunner().invoke(signalbox, arguments, env={"SIGNALBOX_ADMIN_KEY": ADMIN_KEY})
        assert done.exit_code == 0, done.output
        told[prompt] = dict(line.split(": ", 1) for line in done.output.splitlines())
    assert {prompt: one["decided_by"] for prompt, one in told.items()} == cases
    assert any("guard" in value for value in told[taught.pair[0].format("Chile")].values())
    assert any("score" in value for value in told[taught.pair[1].format("Cuba")].values())
    stats = CliRunner().invoke(
        signalbox, ["cache", "stats", "--url", gateway.admin_url], env={"SIGNALBOX_ADMIN_KEY": ADMIN_KEY}
    )
    assert '"serving":1' in stats.output
    assert not any(country in gateway.output() for country in CAPITALS)
