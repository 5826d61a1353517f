"""Routes over real sockets: what is chosen, what is said about it, and what is copied."""

import pytest

from tests.fakes.gateway import Gateway

pytestmark = pytest.mark.e2e
HARD = "Prove rigorously that the algorithm must terminate, because otherwise, if it did not, the lemma would be false."


def config(**route):
    models = {
        name: {
            "deployments": [{"provider": "sim", "model": name}],
            "price": {"input_usd_per_mtok": price, "output_usd_per_mtok": price},
        }
        for name, price in (("small", 1), ("middle", 2), ("large", 3))
    }
    auto = {"strategy": "complexity", "tiers": {"simple": ["small"], "complex": ["large"]}, "default_tier": "complex"}
    return {"providers": {"sim": {"kind": "mock", "pace": False}}, "models": models, "routes": {"auto": auto | route}}


def test_difficulty_decides_and_the_answer_says_so():
    with Gateway(config()) as gateway:
        easy, hard = gateway.chat("auto", "hello"), gateway.chat("auto", HARD)
        assert easy.headers["x-signalbox-model"] == "sim/small"
        assert hard.headers["x-signalbox-model"] == "sim/large"
        assert easy.headers["x-signalbox-decision"].startswith("complexity;route=auto;tier=simple;confidence=")
        gateway.wait_metric("signalbox_decisions_total", 1, route="auto", strategy="complexity", tier="simple")
        gateway.wait_metric("signalbox_decisions_total", 1, route="auto", strategy="complexity", tier="complex")


def test_the_header_names_a_route():
    with Gateway(config()) as gateway:
        answer = gateway.chat("middle", "hello", headers={"x-signalbox-route": "auto"})
        assert answer.headers["x-signalbox-model"] == "sim/small"
        assert gateway.chat("middle", "hello").headers["x-signalbox-model"] == "sim/middle"


@pytest.mark.parametrize("stream", [False, True])
def test_a_mirror_gets_a_copy_that_nobody_pays_for_twice(stream):
    with Gateway(config(mirror={"model": "middle", "share": 1.0})) as gateway:
        answers = [gateway.chat("auto", f"hello {number}", stream=stream) for number in range(5)]
        assert {answer.headers["x-signalbox-model"] for answer in answers} == {"sim/small"}
        labels = {"route": "auto", "deployment": "sim/middle"}
        gateway.wait_metric("signalbox_mirror_requests_total", 5, outcome="ok", **labels)
        assert gateway.metric("signalbox_mirror_cost_usd_total", **labels) > 0
        gateway.wait_metric("signalbox_requests_total", 5, outcome="ok")
        assert gateway.metric("signalbox_cost_usd_total", deployment="sim/middle") == 0
        assert gateway.metric("signalbox_attempts_total", deployment="sim/middle") == 0


def test_a_rule_may_send_requests_to_a_route_with_a_mirror():
    told = config(mirror={"model": "middle", "share": 1.0})
    told["routes"]["plain"] = {"pool": ["small"]}
    told["rules"] = [{"when": {"route": "plain"}, "use": "auto"}]
    with Gateway(told) as gateway:
        assert gateway.chat("plain", "hello").headers["x-signalbox-model"] == "sim/small"
        gateway.wait_metric("signalbox_mirror_requests_total", 1, outcome="ok", route="auto", deployment="sim/middle")


def test_whom_a_caller_excludes_gets_no_copy():
    told = config(mirror={"model": "middle", "share": 1.0})
    told["providers"]["other"] = {"kind": "mock", "pace": False}
    told["models"]["middle"]["deployments"][0]["provider"] = "other"
    labels = {"route": "auto", "deployment": "other/middle"}
    with Gateway(told) as gateway:
        assert gateway.chat("auto", "hello", provider={"ignore": ["other"]}).status == 200
        assert gateway.chat("auto", "hello there").status == 200
        gateway.wait_metric("signalbox_mirror_requests_total", 1, outcome="ok", **labels)
        gateway.wait_metric("signalbox_requests_total", 2, outcome="ok")
        assert gateway.metric("signalbox_mirror_requests_total", outcome="ok", **labels) == 1


def test_names_that_callers_make_up_make_no_series():
    with Gateway(config()) as gateway:
        for number in range(3):
            wish = {"models": [f"sim/made-up-{number}"], "provider": {"max_price": {"prompt": 1}}}
            assert gateway.chat("small", "hello", **wish).status == 200
        gateway.wait_metric("signalbox_rejections_total", 3, model="sim/*", reason="unpriced")


def test_a_canary_takes_its_share_and_keeps_the_conversation():
    with Gateway(config(canary={"model": "middle", "share": 0.5})) as gateway:
        firsts = [
            gateway.chat("auto", "hello", headers={"x-signalbox-session": f"s{number}"}).headers["x-signalbox-model"]
            for number in range(60)
        ]
        again = [
            gateway.chat("auto", "hello", headers={"x-signalbox-session": f"s{number}"}).headers["x-signalbox-model"]
            for number in range(60)
        ]
    assert firsts == again
    assert 12 < firsts.count("sim/middle") < 48


def test_a_conversation_stays_through_its_tool_loop():
    with Gateway(config()) as gateway:
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        messages = [{"role": "user", "content": HARD}]
        first = gateway.chat("auto", messages=messages)
        assert first.headers["x-signalbox-model"] == "sim/large"
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "hi"},
        ]
        second = gateway.chat("auto", messages=messages)
        assert second.headers["x-signalbox-model"] == "sim/large"
        assert "tier=complex" in second.headers["x-signalbox-decision"]


def test_what_no_candidate_can_take_is_told_by_its_constraint():
    with Gateway(config(constraints={"max_cost_usd": 0.000001})) as gateway:
        answer = gateway.chat("auto", "hello " * 500)
        assert answer.status == 400
        error = answer.json["error"]
        assert "max_cost" in error["message"] or "cost" in error["message"]
        gateway.wait_metric("signalbox_refusals_total", 1)
