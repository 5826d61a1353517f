"""What goes wrong between the gateway and a provider, and what of it a caller may notice."""

import threading
import time

import pytest

from tests.e2e.setup import KEY, standard_config
from tests.fakes.dialects.choose import answer as usual
from tests.fakes.gateway import Gateway
from tests.fakes.promptness import typical
from tests.fakes.script import (
    Script,
    cut_after,
    error,
    garbage,
    hang_up,
    reply,
    silent,
    sliced,
    sse,
    stalled_after,
)
from tests.fakes.upstream import refusing_port

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
AUTH = {"authorization": f"Bearer {KEY}"}


def quick_config(upstream, **timeouts):
    """Limits that a healthy provider keeps on a busy machine, too, and that no test has to wait long for."""
    config = standard_config(upstream)
    config["policies"]["timeouts"] = {"connect_s": 2, "ttft_s": 0.6, "idle_s": 0.6, "total_s": 3} | timeouts
    return config


@pytest.fixture
def quick(gateways, upstream) -> Gateway:
    """A gateway without patience."""
    return gateways.get(quick_config(upstream))


def chunk(content, finish=None, **more):
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]} | more


HEALTHY = sse([chunk("You said: "), chunk("hello"), chunk("", "stop")])
BEFORE_THE_FIRST_CONTENT = {
    "fin": hang_up(),
    "rst": hang_up(reset=True),
    "garbage": garbage(),
    "silence": silent(),
    "500": error(500, "oops", type_="server_error"),
    "429": error(429, "slow down", code="rate_limit_exceeded"),
    "401": error(401, "bad key", code="invalid_api_key"),
    "html": reply(b"<html>bad gateway</html>", status=502, headers={"content-type": "text/html"}),
}
STREAM_ONLY = {
    "stall after the head": stalled_after(HEALTHY, 0),
    "stall after the role": stalled_after(sse([chunk("")], done=False), 1000),
    "cut after the role": cut_after(sse([chunk("")], done=False), 1000),
    "cut in the first event": cut_after(HEALTHY, 30, reset=True),
    "done at once": sse([]),
    "no event at all": sse([], done=False),
    "not an event stream": reply(b"<html>hello</html>", headers={"content-type": "text/html"}),
}


@only("stream", [False, True], ids=["whole", "stream"])
@only("name", BEFORE_THE_FIRST_CONTENT)
def test_the_next_candidate_answers(quick, upstream, name, stream):
    upstream.always("up-first", BEFORE_THE_FIRST_CONTENT[name])
    answer = quick.chat("both", headers=AUTH, stream=stream)
    assert (answer.status, answer.text) == (200, "You said: hello")
    assert answer.headers["x-signalbox-model"] == "oa/up-second"
    assert int(answer.headers["x-signalbox-attempts"]) >= 2
    assert [r.model for r in upstream.requests()][-1] == "up-second"


@only("name", STREAM_ONLY)
def test_the_next_candidate_streams(quick, upstream, name):
    upstream.always("up-first", STREAM_ONLY[name])
    answer = quick.chat("both", headers=AUTH, stream=True)
    assert (answer.status, answer.text) == (200, "You said: hello")
    assert answer.headers["x-signalbox-model"] == "oa/up-second"
    assert len({event["id"] for event in answer.events}) == 1


WHOLE_ONLY = {
    "cut": cut_after(reply({"choices": [], "padding": "x" * 100}), 50),
    "cut by reset": cut_after(reply({"choices": [], "padding": "x" * 100}), 50, reset=True),
    "stall": stalled_after(reply({"choices": [], "padding": "x" * 100}), 50),
    "not JSON": reply(b"all is well"),
    "empty": reply(b""),
    "JSON of no use": reply([1, 2]),
    "error in a 200": reply({"error": {"message": "overloaded", "type": "server_error", "code": None}}),
    "lying length": Script(steps=(b'{"choices":[]}',), length_extra=50, framing="length", before=()),
}


@only("name", WHOLE_ONLY)
def test_the_next_candidate_answers_for_half_an_answer(quick, upstream, name):
    upstream.always("up-first", WHOLE_ONLY[name])
    answer = quick.chat("both", headers=AUTH)
    assert (answer.status, answer.text) == (200, "You said: hello")
    assert answer.headers["x-signalbox-model"] == "oa/up-second"


def test_refused_connections(gateways, upstream):
    with refusing_port() as bound:
        config = standard_config(upstream)
        port = bound.getsockname()[1]
        config["providers"]["dead"] = {"kind": "openai", "api_key": "x", "base_url": f"http://127.0.0.1:{port}/v1"}
        config["models"]["first"]["deployments"][0]["provider"] = "dead"
        with Gateway(config) as gateway:

            def once():
                began = time.monotonic()
                assert gateway.chat("both", headers=AUTH).text == "You said: hello"
                return time.monotonic() - began

            assert typical(once, 1) < 1, "a refusal is no reason to wait"
            answer = gateway.chat("first", headers=AUTH)
            assert answer.status == 502
            assert str(port) not in answer.body.decode()
            assert "127.0.0.1" not in answer.body.decode()


@only(
    ("stream", "limits", "limit_s"),
    [(True, {"ttft_s": 0.4, "idle_s": 20, "total_s": 20}, 0.4), (False, {"ttft_s": 0.4, "total_s": 1}, 1.0)],
    ids=["stream", "whole"],
)
def test_silence_has_an_end(gateways, upstream, stream, limits, limit_s):
    """A stream has to begin soon; a whole answer may take all the time there is."""
    gateway = gateways.get(quick_config(upstream, **limits))
    upstream.always("up-openai", silent())
    began = time.monotonic()
    answer = gateway.chat("chat-openai", headers=AUTH, stream=stream)
    assert answer.status == 504
    assert limit_s - 0.1 < time.monotonic() - began < 10, "any other limit is 20 s"
    upstream.last.wait_closed()


def test_the_end_of_a_stream_waits_for_nobody(gateway, upstream):
    """A provider that keeps silent after its last event does not keep the client waiting for the end of the body."""
    upstream.always("up-openai", stalled_after(HEALTHY, 10_000))

    def once():
        began = time.monotonic()
        assert gateway.chat("chat-openai", headers=AUTH, stream=True).text == "You said: hello"
        return time.monotonic() - began

    # For a second the gateway looks for the end of the body, so that it can keep the connection.
    assert typical(once, 0.8) < 0.8


def test_silence_in_a_stream_has_an_end(quick, upstream):
    upstream.always("up-openai", stalled_after(sse([chunk("half")]), len(_bytes(sse([chunk("half")], done=False)))))
    answer = quick.chat("chat-openai", headers=AUTH, stream=True)
    assert answer.text == "half"
    assert answer.events[-1]["error"]["code"] == "stream_interrupted"
    assert "data: [DONE]" not in answer.frames
    upstream.last.wait_closed()


def test_comments_do_not_count_as_life(gateways, upstream):
    from tests.fakes.script import Pause

    quick = gateways.get(quick_config(upstream, total_s=10))
    steps = [piece for _ in range(400) for piece in (b": keep-alive\n\n", Pause(0.05))]
    upstream.always("up-openai", Script(200, (("content-type", "text/event-stream"),), tuple(steps), "chunked"))
    began = time.monotonic()
    assert quick.chat("chat-openai", headers=AUTH, stream=True).status == 504
    assert time.monotonic() - began < 8, "the total limit is 10 s, and the comments go on for 20"


def test_the_total_limit_ends_a_drip(gateways, upstream):
    gateway = gateways.get(quick_config(upstream, ttft_s=20, total_s=1))
    upstream.always("up-openai", sliced(sse([chunk("word ")] * 200), 30, delay_s=0.03))  # more than half a minute
    began = time.monotonic()
    answer = gateway.chat("chat-openai", headers=AUTH, stream=True)
    assert answer.status == 200
    assert 0.8 < time.monotonic() - began < 15
    assert answer.events[-1]["error"]["code"] == "stream_interrupted"


def _bytes(script):
    return b"".join(step for step in script.steps if isinstance(step, bytes))


@only("model", ["chat-openai", "chat-anthropic", "chat-gemini"])
@only("stream", [False, True], ids=["whole", "stream"])
def test_a_dead_idle_connection_is_replaced_without_a_word(gateway, upstream, model, stream):
    def then_dies(request):
        script = usual(request)
        return Script(script.status, script.headers, script.steps, script.framing, dies_idle=True)

    name = model.replace("chat", "up")
    upstream.script(name, then_dies)
    stale = gateway.metric("signalbox_stale_retries_total")
    for _ in range(2):
        answer = gateway.chat(model, headers=AUTH, stream=stream)
        assert (answer.status, answer.text) == (200, "You said: hello")
    assert len(upstream.requests()) == 2
    # Usually the call meets the dying connection and is repeated; when the end came first, the pool has noticed it.
    assert gateway.metric("signalbox_stale_retries_total") - stale in (0, 1)


def test_connections_are_reused(gateway, upstream):
    gateway.chat("chat-openai", headers=AUTH)
    before = upstream.connection_count
    for stream in (False, True) * 5:
        assert gateway.chat("chat-openai", headers=AUTH, stream=stream).status == 200
    assert upstream.connection_count - before <= 1


def test_idle_closing_providers_under_load(gateway, upstream):
    upstream.idle_close_s = 0.01
    wrong = []

    def work():
        for number in range(40):
            answer = gateway.chat("chat-openai", headers=AUTH, stream=number % 2 == 0)
            if answer.status != 200:
                wrong.append(answer.body)
            time.sleep(0.009)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@only("model", ["chat-openai", "chat-anthropic", "chat-gemini"])
@only("size", [1, 7])
def test_streams_torn_into_small_pieces(gateway, upstream, model, size):
    upstream.script(model.replace("chat", "up"), lambda request: sliced(usual(request), size))
    assert gateway.chat(model, "né\u2028 世界", headers=AUTH, stream=True).text == "You said: né\u2028 世界"


@only("model", ["chat-anthropic", "chat-gemini"])
@only("share", [0.5, 0.8])
def test_translated_streams_that_break_say_so(gateway, upstream, model, share):
    def broken(request):
        script = usual(request)
        return cut_after(script, int(len(_bytes(script)) * share))

    upstream.script(model.replace("chat", "up"), broken)
    answer = gateway.chat(model, "a rather long text that takes several pieces", headers=AUTH, stream=True)
    assert answer.status == 200
    assert answer.text
    assert "data: [DONE]" not in answer.frames
    assert answer.events[-1]["error"]["code"] == "stream_interrupted"


# What vendors leave out or say differently, and what a client has to see.
ODD_WHOLE = {
    "content as parts": (
        {"choices": [{"message": {"role": "assistant", "content": [{"type": "text", "text": "parts"}]}}]},
        "parts",
    ),
    "no index, no object": ({"choices": [{"message": {"content": "bare"}, "finish_reason": "eos"}]}, "bare"),
}


@only("name", ODD_WHOLE)
def test_odd_answers_become_regular(gateway, upstream, name):
    body, text = ODD_WHOLE[name]
    upstream.script("odd", reply({"id": "x", "created": 1, "model": "odd"} | body))
    answer = gateway.chat("compat/odd", headers=AUTH)
    data = answer.json
    assert answer.text == text
    assert data["object"] == "chat.completion"
    choice = data["choices"][0]
    assert (choice["index"], choice["finish_reason"], choice["message"]["role"]) == (0, "stop", "assistant")


def test_odd_streams_become_regular(gateway, upstream):
    upstream.script(
        "odd",
        sse(
            [
                {"id": "", "object": "", "model": "", "choices": [], "prompt_filter_results": []},
                {"id": "x", "choices": [{"delta": {"content": "a"}}]},
                {"id": "x", "choices": [{"delta": {"content": [{"type": "text", "text": "b"}]}}]},
                {"id": "x", "choices": [{"delta": {"content": ""}, "finish_reason": "eos"}]},
            ]
        ),
    )
    answer = gateway.chat("compat/odd", headers=AUTH, stream=True)
    assert answer.text == "ab"
    choices = [c for event in answer.events for c in event["choices"]]
    assert all(c["index"] == 0 and "finish_reason" in c for c in choices)
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]
    assert {event["object"] for event in answer.events} == {"chat.completion.chunk"}
    assert len({event["id"] for event in answer.events}) == 1
    assert choices[0]["delta"]["role"] == "assistant"


def test_tool_deltas_without_an_index_stay_apart(gateway, upstream):
    def delta(id_, name, arguments):
        return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}

    calls = [delta("a", "f", '{"x":1}'), delta("b", "g", '{"y":2}')]
    events = [
        {
            "id": "x",
            "choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": calls}, "finish_reason": None}],
        },
        {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    ]
    upstream.script("odd", sse(events))
    answer = gateway.chat("compat/odd", headers=AUTH, stream=True)
    seen = [c for e in answer.events for ch in e["choices"] for c in ch["delta"].get("tool_calls") or []]
    assert [(c["index"], c["function"]["name"]) for c in seen] == [(0, "f"), (1, "g")]
