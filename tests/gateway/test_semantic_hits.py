"""Answers by meaning, over real sockets: given only after it was learnt that they may be, to whom they belong, and
forgotten, checked and doubted like nothing else.
"""

import json
import time
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner

from gateway.cli.main import signalbox
from tests.fakes.gateway import ADMIN_KEY, Gateway
from tests.fakes.http import send
from tests.fakes.upstream import FakeUpstream
from tests.gateway.semantic_scene import CAPITALS, KEYS, WORDINGS, ask, config, provider, teach

pytestmark = pytest.mark.e2e
_PATIENCE_S = 10.0


@pytest.fixture(scope="module")
def _taught(_upstream_process: FakeUpstream) -> Iterator[Gateway]:
    """One that has learnt from the key `ann`, and checks every hit."""
    _upstream_process.reset()
    _upstream_process.on(provider)
    with Gateway(config(_upstream_process, shadow_ratio=1.0)) as gateway:
        assert teach(gateway) > 150, "nothing is served before there is evidence"
        yield gateway


@pytest.fixture
def gateway(_taught: Gateway, upstream: FakeUpstream) -> Gateway:
    """Without anything kept, but with what it learnt."""
    upstream.on(provider)
    _taught.admin("cache/purge", {"all": True})
    return _taught


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _hit(gateway: Gateway, country: str):
    """A question, and the hit of another that means the same."""
    first = ask(gateway, WORDINGS[0].format(country))
    again = ask(gateway, WORDINGS[-1].format(country))
    assert [one.headers["x-signalbox-cache"] for one in (first, again)] == ["miss", "semantic"]
    return first, again


def _other_hit(gateway: Gateway, country: str):
    """The same in other words than those, which are doubted once one of them was wrong; and the first of them."""
    for wording in WORDINGS[1:-2]:
        first = ask(gateway, wording.format(country))
        again = ask(gateway, WORDINGS[-2].format(country))
        if again.headers["x-signalbox-cache"] == "semantic":
            return wording, first, again
        gateway.admin("cache/purge", {"all": True})
    raise AssertionError("no hit")


def test_other_words_get_the_answer_of_before(gateway, upstream):
    first, again = _hit(gateway, "Ireland")
    assert again.text == first.text == "Dublin"
    assert 0.5 < float(again.headers["x-signalbox-cache-score"]) <= 1
    assert (again.headers["x-signalbox-cost-usd"], again.headers["x-signalbox-attempts"]) == ("0", "0")
    assert again.json["usage"] == first.json["usage"] | {"is_cached": True}
    assert ask(gateway, WORDINGS[-1].format("Peru")).text == "Lima", "of another country there is no answer yet"
    streamed = ask(gateway, WORDINGS[-1].format("Ireland"), stream=True)
    assert (streamed.headers["x-signalbox-cache"], streamed.text) == ("semantic", "Dublin")
    assert streamed.frames[-1] == "data: [DONE]"
    line = gateway.wait_log(again.headers["x-request-id"])
    assert line["cache"] == "semantic"
    assert not any(word in json.dumps(line) for word in ("Ireland", "Dublin", KEYS["ann"]))


def test_it_is_nobody_elses_and_of_no_other_conditions(gateway):
    _hit(gateway, "Denmark")
    asked = WORDINGS[-1].format("Denmark")
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


def test_a_purge_reaches_it(gateway):
    _hit(gateway, "Sweden")
    assert gateway.admin("cache").json["semantic"]["entries"] == 1
    assert gateway.admin("cache/purge", {"model": "taught"}).json["purged"] == 1
    assert gateway.admin("cache").json["semantic"]["entries"] == 0
    assert ask(gateway, WORDINGS[-1].format("Sweden")).headers["x-signalbox-cache"] == "miss"


def _tell(gateway, request_id, key="ann", **more):
    body = {"request_id": request_id, "wrong_cache_hit": True} | more
    return send(f"{gateway.base_url}/feedback", body, headers={"authorization": f"Bearer {KEYS[key]}"})


def test_a_wrong_hit_is_forgotten_and_learnt_from(gateway):
    wording, first, again = _other_hit(gateway, "Poland")
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
    assert ask(gateway, wording.format("Poland")).headers["x-signalbox-cache"] == "miss", "it is gone"
    assert _tell(gateway, request_id).status == 404
    assert gateway.wait_metric("signalbox_cache_labels_total", 1, source="feedback", verdict="wrong") == 1


def test_a_hit_is_checked_by_a_call_that_is_billed_and_counted(gateway, upstream):
    before = gateway.metric("signalbox_cache_checks_total", result="done")
    _hit(gateway, "Greece")
    checked = upstream.wait_requests(2)[1]
    assert "Greece" in checked.json["messages"][-1]["content"]
    assert gateway.wait_metric("signalbox_cache_checks_total", before + 1, result="done") == before + 1
    assert gateway.metric("signalbox_cache_checks_cost_usd_total") > 0
    assert gateway.metric("signalbox_cache_checked_hits", route="taught") >= 1
    assert gateway.metric("signalbox_cache_wrong_hits_ratio", route="taught") == 0
    assert 0 < gateway.metric("signalbox_cache_wrong_hits_upper_ratio", route="taught") < 1


def test_no_check_for_who_has_no_budget_left(gateway, upstream, _upstream_process):
    _hit(gateway, "Malta")
    upstream.wait_requests(2)
    poor = config(_upstream_process, shadow_ratio=1.0)
    poor["budgets"] = {"nothing": {"limit_usd": 0.0000001}}
    poor["keys"][0]["budget"] = "nothing"
    gateway.write(poor)
    try:
        assert gateway.reload().status == 200
        again = ask(gateway, WORDINGS[-1].format("Malta"))
        assert again.headers["x-signalbox-cache"] == "semantic", "a hit costs nothing, and outlives a reload"
        gateway.wait_metric("signalbox_cache_checks_total", 1, result="refused")
        assert len(upstream.requests()) == 2
    finally:
        gateway.write(config(_upstream_process, shadow_ratio=1.0))
        assert gateway.reload().status == 200


def test_the_command_shows_what_decides(gateway):
    _hit(gateway, "Cuba")
    cases = {
        WORDINGS[0].format("Cuba"): "kept",
        WORDINGS[-1].format("Cuba"): "served",
        WORDINGS[0].format("Chile"): "guard",
        "What is the latest news from Cuba?": "time",
    }
    told = {}
    for prompt in cases:
        arguments = ["cache", "explain", prompt, "--route", "taught", "--key", "ann", "--url", gateway.admin_url]
        done = CliRunner().invoke(signalbox, arguments, env={"SIGNALBOX_ADMIN_KEY": ADMIN_KEY})
        assert done.exit_code == 0, done.output
        told[prompt] = dict(line.split(": ", 1) for line in done.output.splitlines())
    assert {prompt: one["decided_by"] for prompt, one in told.items()} == cases
    assert any("guard" in value for value in told[WORDINGS[0].format("Chile")].values())
    assert any("score" in value for value in told[WORDINGS[-1].format("Cuba")].values())
    stats = CliRunner().invoke(
        signalbox, ["cache", "stats", "--url", gateway.admin_url], env={"SIGNALBOX_ADMIN_KEY": ADMIN_KEY}
    )
    assert '"serving":1' in stats.output
    assert not any(country in gateway.output() for country in CAPITALS)
