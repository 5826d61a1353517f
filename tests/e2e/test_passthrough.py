"""Same-dialect traffic is forwarded as the JSON it is, both ways; what differs is named here, byte for byte."""

import json

import pytest

from tests.e2e.setup import KEY, UPSTREAM_SECRET
from tests.fakes.http import send
from tests.fakes.script import error, reply, sliced, sse, with_crlf

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
AUTH = {"authorization": f"Bearer {KEY}"}

# Numbers that a JSON library with doubles changes, nulls that typed models drop, keys nobody has heard of.
REQUEST = (
    '{"model":"chat-openai", "messages":'
    '[{"role":"user","content":"hi\\u2028\\ud83d\\ude00 é","name":null,"x_part":[1.0,1e2]}],'
    '"seed":9223372036854775807, "big":123456789012345678901234567890, "precise":0.1000000000000000055511151231257827,'
    '"stop":null,"user":null,"verbosity":"low","vendor":{"model":"inner","deep":[null,{"a":-0.0}]}, "zero":1.0}'
)
ANSWER = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1760000000,"model":"up-openai-2026",'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"hé\\u2028llo \\u2029","refusal":null,'
    '"reasoning_content":"because","annotations":[{"type":"url_citation","vendor":1.10}]},"logprobs":null,'
    '"finish_reason":"stop","content_filter_results":{"hate":{"filtered":false}}}],'
    '"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"vendor_units":12345678901234567890123},'
    '"system_fingerprint":null,"x_vendor":{"cost":0.000012345678901234567,"n":9007199254740993}}'
)


@pytest.fixture
def url(gateway):
    return f"{gateway.base_url}/chat/completions"


def test_a_request_differs_in_its_model_only(url, upstream):
    answer = send(url, REQUEST.encode(), headers=AUTH)
    assert answer.status == 200
    assert upstream.last.body.decode() == REQUEST.replace('"chat-openai"', '"up-openai"', 1)
    assert json.loads(upstream.last.body)["vendor"]["model"] == "inner"


def test_an_answer_is_kept_to_the_last_digit(url, upstream):
    upstream.script("up-openai", reply(ANSWER.encode()))
    answer = send(url, REQUEST.encode(), headers=AUTH)
    expected = json.loads(ANSWER, parse_float=str, parse_int=str)
    got = json.loads(answer.body, parse_float=str, parse_int=str)
    assert without(got, "model") == without(expected, "model")
    assert answer.body.decode().count("12345678901234567890123") == 1


def test_stream_events_are_kept(url, upstream):
    chunk = (
        '{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","obfuscation":"xYz","x":{"n":9007199254740993},'
        '"choices":[{"index":0,"delta":{"role":"assistant","content":"a\u2028b\u2029c\u0085d","reasoning_content":"r"},'
        '"logprobs":null,"finish_reason":null,"vendor":0.10}]}'
    )
    final = (
        '{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},'
        '"logprobs":null,"finish_reason":"stop"}]}'
    )
    upstream.script("up-openai", sse([chunk, final]))
    answer = chat(url, stream=True)
    assert [without(exact(frame), "model") for frame in answer.frames[:-1]] == [
        without(exact(f"data: {text}"), "model") for text in (chunk, final)
    ]
    assert answer.frames[-1] == "data: [DONE]"


def exact(frame):
    return json.loads(frame.removeprefix("data: "), parse_float=str, parse_int=str)


def without(data, key):
    return {k: v for k, v in data.items() if k != key}


def chat(url, text="hello", headers=AUTH, **more):
    body = {"model": "chat-openai", "messages": [{"role": "user", "content": text}]} | more
    return send(url, body, headers=headers)


@only("cut", [lambda s: s, lambda s: sliced(s, 1), with_crlf, lambda s: sliced(with_crlf(s), 3)])
def test_a_stream_is_the_same_however_it_is_cut(url, upstream, cut):
    events = [chunk_of("né\u2028w "), chunk_of("世界 👩‍👩‍👧"), chunk_of("", "stop")]
    upstream.script("up-openai", cut(sse(events)))
    answer = chat(url, stream=True)
    assert answer.text == "né\u2028w 世界 👩‍👩‍👧"
    assert answer.frames.count("data: [DONE]") == 1
    assert answer.frames[-1] == "data: [DONE]"
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in answer.frames)
    assert len({event["id"] for event in answer.events}) == 1


def chunk_of(content, finish=None, **more):
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]} | more


def test_comments_and_unknown_events_of_a_provider_do_no_harm(url, upstream):
    script = sse([chunk_of("one"), chunk_of(" two", "stop")])
    pieces = [b": OPENROUTER PROCESSING\n\n", b"event: ping\ndata: {}\n\n", b"retry: 10\nid: 7\n\n"]
    upstream.script("up-openai", type(script)(200, script.headers, (*pieces, *script.steps), script.framing))
    answer = chat(url, stream=True)
    assert answer.status == 200
    assert answer.text == "one two"


@only("include", [True, False])
def test_the_usage_chunk_goes_to_who_asked_for_it(gateway, url, upstream, include):
    labels = {"deployment": "oa/up-openai", "class": "output"}
    before = gateway.metric("signalbox_tokens_total", **labels)
    options = {"stream_options": {"include_usage": True, "include_obfuscation": False}} if include else {}
    answer = chat(url, stream=True, **options)
    sent = upstream.last.json["stream_options"]
    assert sent["include_usage"] is True
    assert ("include_obfuscation" in sent) is include
    assert [e["choices"] for e in answer.events if e.get("usage")] == ([[]] if include else [])
    if not include:
        assert all(e["choices"] for e in answer.events)
        assert not any(e.get("usage") for e in answer.events)
    # Counted either way: 8 visible tokens.
    gateway.wait_metric("signalbox_tokens_total", before + 8, **labels)


@only("model", ["chat-openai", "chat-anthropic", "chat-gemini", "chat-mock"])
@only("stream", [False, True])
def test_headers_of_an_answer(url, model, stream):
    answer = chat(url, model=model, stream=stream)
    assert answer.status == 200
    headers = answer.headers
    assert headers["x-request-id"]
    assert headers["x-signalbox-model"].split("/")[0] in ("oa", "an", "ge", "sim")
    assert headers["x-signalbox-decision"]
    assert headers["x-signalbox-attempts"] == "1"
    assert headers["x-signalbox-cache"] in ("miss", "bypass")
    assert float(headers["x-signalbox-overhead-ms"]) >= 0
    assert headers["cache-control"].startswith("no-")
    assert "server" not in headers
    content_type = "text/event-stream" if stream else "application/json"
    assert headers["content-type"].startswith(content_type)
    assert not any(UPSTREAM_SECRET in value or "127.0.0.1" in value for value in headers.values())


@only("model", ["chat-openai", "chat-anthropic", "chat-gemini", "chat-mock"])
def test_every_dialect_streams_the_same_shape(url, model):
    answer = chat(url, model=model, stream=True, stream_options={"include_usage": True})
    events = answer.events
    assert answer.frames.count("data: [DONE]") == 1
    assert answer.frames[-1] == "data: [DONE]"
    assert not any(line.startswith("event:") for line in answer.body.decode().split("\n"))
    assert len({e["id"] for e in events}) == 1
    assert len({e["created"] for e in events}) == 1
    assert {e["object"] for e in events} == {"chat.completion.chunk"}
    *content, last = events
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + last["usage"]["completion_tokens"]
    assert content[0]["choices"][0]["delta"]["role"] == "assistant"
    reasons = [choice["finish_reason"] for e in content for choice in e["choices"]]
    assert reasons[-1] == "stop"
    assert set(reasons[:-1]) <= {None}


@only("model", ["chat-openai", "chat-anthropic", "chat-gemini"])
def test_nothing_of_the_caller_or_of_us_leaks_to_the_provider(url, upstream, model):
    headers = AUTH | {"x-request-id": "req-7", "cookie": "session=1", "x-signalbox-tags": "a=b", "openai-beta": "x"}
    assert chat(url, model=model, headers=headers).status == 200
    seen = upstream.last
    assert KEY not in str(seen.headers)
    assert KEY not in seen.body.decode()
    names = {name for name, _ in seen.headers}
    assert not {"cookie", "x-signalbox-tags"} & names
    keys = [seen.header("authorization"), seen.header("x-api-key"), seen.header("x-goog-api-key")]
    assert [k for k in keys if k and UPSTREAM_SECRET in k] == [k for k in keys if k]
    assert len([k for k in keys if k]) == 1
    assert seen.header("content-type") == "application/json"
    assert "signalbox" not in seen.body.decode()


def test_a_request_id_is_kept_when_it_is_harmless(url):
    assert chat(url, headers=AUTH | {"x-request-id": "req-7"}).headers["x-request-id"] == "req-7"
    long = "x" * 500
    assert chat(url, headers=AUTH | {"x-request-id": long}).headers["x-request-id"] != long
    first, second = (chat(url).headers["x-request-id"] for _ in range(2))
    assert first != second


def test_a_request_has_one_line_in_the_log_without_its_content(gateway, url):
    answer = chat(url, "a very private question")
    line = gateway.wait_log(answer.headers["x-request-id"])
    assert (line["outcome"], line["model"], line["answered_by"]) == ("ok", "chat-openai", "oa/up-openai")
    assert (line["prompt_tokens"], line["completion_tokens"]) == (20, 10)
    assert line["caller"] == "tester"
    output = gateway.output()
    assert "very private" not in output
    assert KEY not in output
    assert UPSTREAM_SECRET not in output


def test_vendor_keys_of_an_error_are_kept(url, upstream):
    body = {
        "error": {
            "message": "This model's maximum context length is 10 tokens.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
            "inner": {"n": 1},
        }
    }
    upstream.script("up-openai", reply(body, status=400))
    answer = chat(url)
    assert answer.status == 400
    assert answer.headers["content-type"].startswith("application/json")
    assert body["error"].items() <= answer.error.items()
    assert answer.headers["x-request-id"]


def test_an_error_of_every_candidate_lists_the_attempts(url, upstream):
    upstream.always("up-first", error(500, "first is broken", type_="server_error"))
    upstream.always("up-second", error(503, "second is overloaded", type_="server_error"))
    answer = chat(url, model="both")
    assert answer.status in (502, 503)
    assert [a["model"] for a in answer.error["attempts"]] == ["oa/up-first", "oa/up-second"]
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-signalbox-attempts"] == "2"


def test_an_error_before_the_first_event_is_a_status_and_not_a_stream(url, upstream):
    upstream.always("up-openai", error(400, "no", code="bad"))
    answer = chat(url, stream=True)
    assert (answer.status, answer.error["code"]) == (400, "bad")
    assert answer.headers["content-type"].startswith("application/json")


def test_an_error_event_right_after_a_200_still_falls_back(url, upstream):
    failure = {"error": {"message": "overloaded", "type": "server_error", "param": None, "code": None}}
    role_only = chunk_of("")
    upstream.always("up-first", sse([role_only, failure], done=False))
    answer = chat(url, model="both", stream=True)
    assert answer.text == "You said: hello"
    assert answer.headers["x-signalbox-attempts"] == "2"


def test_a_cut_stream_ends_with_an_error_event(url, upstream):
    upstream.script("up-openai", sse([chunk_of("half an ")], done=False))
    answer = chat(url, stream=True)
    assert answer.status == 200
    assert "data: [DONE]" not in answer.frames
    last = answer.events[-1]
    assert set(last["error"]) >= {"message", "type", "param", "code"}
    assert last["error"]["code"] == "stream_interrupted"
    assert not any(c["finish_reason"] for e in answer.events for c in e.get("choices", []))


def test_a_stream_without_done_but_finished_is_whole(url, upstream):
    upstream.script("up-openai", sse([chunk_of("all of it"), chunk_of("", "stop")], done=False))
    answer = chat(url, stream=True)
    assert answer.text == "all of it"
    assert answer.frames[-1] == "data: [DONE]"
    assert not any("error" in e for e in answer.events)
