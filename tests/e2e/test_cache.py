"""Kept answers as clients meet them: what comes from the cache looks like what came from the provider."""

import json
import tempfile
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.main import signalbox
from tests.e2e.setup import KEY, key_row, standard_config
from tests.e2e.test_client_matrix import AWKWARD, CITY_FORMAT, CLOCK, WEATHER
from tests.fakes.gateway import ADMIN_KEY, Gateway
from tests.fakes.http import send

pytestmark = pytest.mark.e2e
OTHER, POOR = f"{KEY}-other", f"{KEY}-poor"
CASES = {
    "plain": {"text": AWKWARD},
    "tools": {"text": "both cities", "tools": [WEATHER], "parallel_tool_calls": True},
    "no arguments": {"text": "time?", "tools": [CLOCK]},
    "schema": {"text": "the city of Paris", "response_format": CITY_FORMAT},
    "logprobs": {"text": "likely", "logprobs": True, "top_logprobs": 2},
    "several": {"text": "three ways", "n": 3},
    "long": {"text": "many words " * 300},
}


@pytest.fixture
def cached(gateways, upstream):
    """A gateway that keeps answers, without those of the test before."""
    config = standard_config(upstream)
    config["keys"] += [key_row("other", OTHER), key_row("poor", POOR, budget="once", limits="once")]
    config["models"]["chat-openai"]["price"] = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
    config["budgets"] = {"once": {"limit_usd": 1, "window": "total"}}
    config["limits"] = {"once": {"requests_per_minute": 1}}
    config["policies"]["cache"] = {"exact": {"enabled": True}}
    return gateways.get(config)


@pytest.fixture
def ask_cached(client, client_name, cached):
    def run(case, op, name, **more):
        body = {key: value for key, value in CASES[case].items() if key != "text"}
        # Each client and test has questions of its own, because they share the gateway.
        text = f"{CASES[case]['text']} [{client_name} {name}]"
        body |= {"model": "chat-openai", "messages": [{"role": "user", "content": text}]} | more
        return client.run({"op": op, "body": body, "base_url": cached.base_url, "api_key": KEY, "retries": 0})

    return run


def _said(result):
    """What an answer says, in whichever form it came. Nothing is "" in a stream and null in a whole answer."""
    texts = [text or "" for text in result["texts"]]
    return [texts, *(result[name] for name in ("finish", "calls", "call_ids", "logprobs"))]


def test_a_kept_answer_is_what_the_provider_said(ask_cached, upstream):
    for number, case in enumerate(CASES, 1):
        first = ask_cached(case, "create", "whole first")
        streamed = ask_cached(case, "stream", "whole first", stream_options={"include_usage": True})
        again = ask_cached(case, "create", "whole first")
        assert len(upstream.requests()) == number, case
        assert _said(streamed) == _said(again) == _said(first), case
        assert (streamed["ids"], streamed["finish_counts"]) == (1, [1] * len(first["texts"])), case
        assert (streamed["usages"], streamed["usage_choices"]) == ([first["usage"]], [0]), case


def test_a_stream_is_kept_as_a_whole(ask_cached, upstream):
    for number, case in enumerate(CASES, 1):
        first = ask_cached(case, "stream", "streamed first")
        again = ask_cached(case, "stream", "streamed first")
        whole = ask_cached(case, "create", "streamed first")
        assert len(upstream.requests()) == number, case
        assert _said(again) == _said(whole) == _said(first), case
        assert again["usages"] == [], case


def _send(cached, text, secret=KEY, headers=None, **more):
    body = {"model": "chat-openai", "messages": [{"role": "user", "content": text}]} | more
    return send(
        f"{cached.base_url}/chat/completions", body, headers={"authorization": f"Bearer {secret}"} | (headers or {})
    )


def test_the_head_says_where_an_answer_came_from(cached, upstream):
    first, again = _send(cached, "heads"), _send(cached, "heads")
    assert [answer.headers["x-signalbox-cache"] for answer in (first, again)] == ["miss", "hit"]
    assert again.headers["x-signalbox-model"] == first.headers["x-signalbox-model"]
    assert (again.headers["x-signalbox-cost-usd"], again.headers["x-signalbox-attempts"]) == ("0", "0")
    assert int(again.headers["age"]) >= 0
    assert again.json["usage"] == first.json["usage"] | {"is_cached": True}
    assert again.json | {"usage": None} == first.json | {"usage": None}
    assert "age" not in first.headers
    line = cached.wait_log(again.headers["x-request-id"])
    assert (line["cache"], line["attempts"]) == ("hit", 0)
    assert "heads" not in json.dumps(line)


def test_another_key_asks_for_itself(cached, upstream):
    """Row 38 of the fault matrix."""
    _send(cached, "the same of two tenants")
    theirs = _send(cached, "the same of two tenants", OTHER)
    assert theirs.headers["x-signalbox-cache"] == "miss"
    assert len(upstream.requests()) == 2
    assert _send(cached, "the same of two tenants", OTHER).headers["x-signalbox-cache"] == "hit"


def test_hits_are_held_against_neither_budgets_nor_limits(cached, upstream):
    asked = [_send(cached, "one call is all", POOR, stream=number == 3) for number in range(4)]
    uses = [(answer.status, answer.headers["x-signalbox-cache"]) for answer in asked]
    assert uses == [(200, "miss"), *[(200, "hit")] * 3]
    assert [answer.headers["x-signalbox-cost-usd"] for answer in asked[1:]] == ["0"] * 3
    (budget,) = cached.admin("budgets").json["data"]
    assert float(budget["spent_usd"]) == float(asked[0].headers["x-signalbox-cost-usd"]) > 0
    assert float(budget["held_usd"]) == 0
    assert _send(cached, "another call", POOR).status == 429
    assert len(upstream.requests()) == 1


def test_only_if_cached(cached, upstream):
    answer = _send(cached, "never asked", headers={"cache-control": "only-if-cached"})
    assert (answer.status, answer.json["error"]["code"]) == (504, "not_cached")
    assert not upstream.requests()


def test_words_in_several_lines_are_all_heard(cached, upstream):
    lines = {
        "cache-control": "no-store",
        "Cache-Control": "max-age=60",
        "x-signalbox-tags": "a",
        "X-Signalbox-Tags": "b",
    }
    for _ in range(2):
        assert _send(cached, "in lines", headers=lines).headers["x-signalbox-cache"] == "bypass"
    del lines["cache-control"]
    assert _send(cached, "in lines", headers=lines).headers["x-signalbox-cache"] == "miss"
    assert [cached.admin("cache/purge", {"tag": tag}).json["purged"] for tag in "ab"] == [1, 0], "it had both"


def test_many_at_once_make_one_call(cached, upstream):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(_send(cached, "all at once"))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["choices"][0]["message"]["content"] for answer in answers} == {"You said: all at once"}
    assert len(upstream.requests()) == 1
    uses = [answer.headers["x-signalbox-cache"] for answer in answers]
    assert (uses.count("miss"), set(uses) <= {"miss", "shared", "hit"}) == (1, True)


def _embed(cached, given, *, headers=None, **more):
    body = {"model": "chat-openai", "input": given} | more
    return send(f"{cached.base_url}/embeddings", body, headers={"authorization": f"Bearer {KEY}"} | (headers or {}))


def test_embeddings_are_kept_input_by_input(cached, upstream):
    alone = {text: _embed(cached, text) for text in ("north", "south")}
    both = _embed(cached, ["south", "north"])
    assert both.headers["x-signalbox-cache"] == "hit"
    assert [row["index"] for row in both.json["data"]] == [0, 1]
    assert [row["embedding"] for row in both.json["data"]] == [
        alone[text].json["data"][0]["embedding"] for text in ("south", "north")
    ]
    tokens = sum(answer.json["usage"]["prompt_tokens"] for answer in alone.values())
    assert both.json["usage"]["prompt_tokens"] == both.json["usage"]["total_tokens"] == tokens
    assert len(upstream.requests()) == 2

    mixed = _embed(cached, ["north", "east", "south", "west"])
    assert mixed.headers["x-signalbox-cache"] == "miss"
    assert json.loads(upstream.last.body)["input"] == ["east", "west"]
    direct = _embed(cached, ["north", "east", "south", "west"], headers={"cache-control": "no-store"})
    assert [row["embedding"] for row in mixed.json["data"]] == [row["embedding"] for row in direct.json["data"]]
    assert [row["index"] for row in mixed.json["data"]] == [0, 1, 2, 3]
    usage = mixed.json["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == tokens < usage["prompt_tokens"]
    assert "is_cached" not in usage
    again = _embed(cached, ["west", "east", "north"])
    assert again.headers["x-signalbox-cache"] == "hit"
    assert again.json["usage"]["is_cached"]


def test_vectors_of_another_form_are_others(cached, upstream):
    for number, more in enumerate(({}, {"encoding_format": "base64"}, {"dimensions": 4}, {"user": "u"}), 1):
        answer = _embed(cached, "form", **more)
        assert answer.headers["x-signalbox-cache"] == ("miss" if number < 4 else "hit")
    for given in ([1, 2, 3], [[1, 2, 3], [4]], ["form", "form"]):
        _embed(cached, given)
    assert _embed(cached, [[4], [1, 2, 3]]).headers["x-signalbox-cache"] == "hit"
    assert [row["index"] for row in _embed(cached, ["form", "form"]).json["data"]] == [0, 1]


def test_operators_see_what_is_kept_and_have_it_forgotten(cached, upstream):
    tagged = {"x-signalbox-tags": "team=blue, beta"}
    for text, headers in (("purged one", None), ("purged two", tagged)):
        _send(cached, text, headers=headers)
    _send(cached, "purged one", OTHER)
    stats = cached.admin("cache").json
    assert stats["is_on"]
    assert stats["models"]["chat-openai"] == stats["entries"] >= 3
    assert stats["bytes"] > 0

    def state():
        asked = ("purged one", KEY, None), ("purged two", KEY, tagged), ("purged one", OTHER, None)
        only = {"cache-control": "only-if-cached"}
        return [_send(cached, text, key, only | (headers or {})).status for text, key, headers in asked]

    assert state() == [200, 200, 200]
    assert cached.admin("cache/purge", {"tag": "beta"}).json["purged"] == 1
    assert state() == [200, 504, 200]
    assert cached.admin("cache/purge", {"key": "other", "model": "chat-openai"}).json["purged"] >= 1
    assert state() == [200, 504, 504]
    entry = _send(cached, "purged one").headers["x-signalbox-cache-entry"]
    assert cached.admin("cache/purge", {"entry": entry}).json["purged"] == 1
    assert state() == [504, 504, 504]
    assert cached.admin("cache/purge", {"all": True}).status == 200
    assert cached.admin("cache").json["entries"] == 0


@pytest.mark.parametrize("body", [{}, {"all": False}, {"all": True, "tag": "x"}, {"all": 1}, {"what": 1}, {"key": 7}])
def test_a_purge_says_what_it_means(cached, body):
    answer = cached.admin("cache/purge", body)
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")


def test_a_purge_reaches_every_worker(gateways, upstream):
    config = standard_config(upstream)
    config["policies"]["cache"] = {"exact": {"enabled": True}}
    gateway = gateways.get(config, workers=2)

    def kept():
        # Each is a connection of its own, so that both workers are asked.
        return {gateway.admin("cache").json["entries"] for _ in range(30)}

    deadline = time.monotonic() + 20
    while 0 in kept():
        _send(gateway, "in every worker")
        assert time.monotonic() < deadline
    assert gateway.admin("cache/purge", {"all": True}).json["purged"] == 1
    while kept() != {0}:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_purge_that_the_other_workers_are_not_told_of_says_so(gateways, upstream):
    config = standard_config(upstream)
    config["policies"]["cache"] = {"exact": {"enabled": True}}
    gateway = gateways.get(config, workers=2)
    # The folder that its workers share is the one where they count.
    (first, *_) = Path(tempfile.gettempdir()).glob(f"signalbox-metrics-*/*_{gateway.children()[0]}.db")
    file, aside = first.parent / "cache-purges.jsonl", first.parent / "aside"
    file.touch()
    file.rename(aside)
    file.mkdir()  # nobody can write there
    try:
        answer = gateway.admin("cache/purge", {"all": True})
        assert (answer.status, answer.json["error"]["code"]) == (503, "purge_incomplete")
        assert "This worker forgot" in answer.json["error"]["message"]
        told = ["cache", "purge", "--all", "--url", gateway.admin_url]
        done = CliRunner(env={"SIGNALBOX_ADMIN_KEY": ADMIN_KEY}).invoke(signalbox, told)
        assert done.exit_code == 1
        assert "Purge again" in done.output
    finally:
        file.rmdir()
        aside.rename(file)
    assert gateway.admin("cache/purge", {"all": True}).status == 200


def test_the_command(cached, upstream):
    runner = CliRunner(env={"SIGNALBOX_ADMIN_KEY": ADMIN_KEY})
    _send(cached, "by command")
    shown = runner.invoke(signalbox, ["cache", "stats", "--json", "--url", cached.admin_url])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.output)["entries"] >= 1
    done = runner.invoke(signalbox, ["cache", "purge", "--model", "chat-openai", "--url", cached.admin_url])
    assert done.exit_code == 0, done.output
    assert int(done.output.removeprefix("purged: ")) >= 1
    for arguments in (["purge"], ["purge", "--all", "--tag", "x"]):
        assert runner.invoke(signalbox, ["cache", *arguments, "--url", cached.admin_url]).exit_code == 2
    refused = runner.invoke(
        signalbox, ["cache", "stats", "--url", cached.admin_url], env={"SIGNALBOX_ADMIN_KEY": "wrong"}
    )
    assert refused.exit_code == 1
    assert "wrong" not in refused.output


def test_the_cache_says_what_it_would_do(cached, upstream):
    runner = CliRunner(env={"SIGNALBOX_ADMIN_KEY": ADMIN_KEY})

    def explained(prompt, key="tester", **more):
        asked = {"prompt": prompt, "route": "chat-openai", "key": key} | more
        found = cached.admin("cache/explain", asked).json
        told = ["cache", "explain", prompt, "--route", "chat-openai", "--key", key, "--url", cached.admin_url]
        done = runner.invoke(signalbox, told)
        assert done.exit_code == 0, done.output
        assert more or f"decided_by: {found['decided_by']}\n" in done.output
        return found["answered_by"], found["decided_by"]

    assert explained("explained") == (None, "nothing_kept")
    _send(cached, "explained")
    assert explained("explained") == ("hit", "kept")
    assert explained("explained", key="other") == (None, "nothing_kept")
    assert explained("explained", temperature=0) == (None, "nothing_kept")
    assert explained("explained", user="somebody") == ("hit", "kept")
    assert explained("explained", store=True) == (None, "stateful")
    assert len(upstream.requests()) == 1


def test_answers_of_models_that_changed_or_are_gone_go_with_them(upstream):
    config = standard_config(upstream)
    config["policies"]["cache"] = {"exact": {"enabled": True}, "serve_stale_on_error": True}
    with Gateway(config) as gateway:

        def use(model):
            headers = {"authorization": f"Bearer {KEY}"}
            answer = gateway.chat(model, "reloaded", headers=headers)
            return answer.status, answer.headers.get("x-signalbox-cache")

        for expected in ("miss", "hit"):
            assert [use(model) for model in ("first", "second", "both")] == [(200, expected)] * 3
        config["models"]["first"]["deployments"][0]["model"] = "up-other"
        gateway.write(config)
        assert gateway.reload().status == 200
        assert [use(model) for model in ("first", "second", "both")] == [(200, "miss"), (200, "hit"), (200, "miss")]
        del config["models"]["second"], config["routes"]
        gateway.write(config)
        assert gateway.reload().status == 200
        assert [use(model)[0] for model in ("first", "second", "both")] == [200, 404, 404]
