"""Failures reach every client as the exception class, the code and the request id that applications branch on."""

import pytest

from tests.e2e.setup import KEY, UPSTREAM_SECRET
from tests.fakes.dialects import anthropic, gemini
from tests.fakes.script import Script, cut_after, error, hang_up, reply, sse

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize

# What OpenAI answers -> the status and class a client has to see behind the gateway, and the code where it is kept.
OPENAI_CASES = [
    (error(400, "too long", code="context_length_exceeded", param="messages"), 400, "BadRequestError"),
    (error(404, "no such model", code="model_not_found"), 404, "NotFoundError"),
    (error(409, "conflict", code="conflict"), 409, "ConflictError"),
    (error(422, "cannot", code="unprocessable"), 422, "UnprocessableEntityError"),
]

# Whatever the dialect, these are the provider's or the operator's trouble: never the caller's 401 or 403.
TROUBLE = {
    "openai": [
        (error(401, "Incorrect API key provided", code="invalid_api_key"), 502, "InternalServerError"),
        (error(403, "not allowed"), 502, "InternalServerError"),
        (error(429, "slow down", type_="requests", code="rate_limit_exceeded"), 429, "RateLimitError"),
        (error(429, "no credit", type_="insufficient_quota", code="insufficient_quota"), 503, "InternalServerError"),
        (error(500, "oops", type_="server_error"), 502, "InternalServerError"),
        (error(503, "overloaded", type_="server_error"), 503, "InternalServerError"),
        (reply(b"<html>502</html>", status=502, headers={"content-type": "text/html"}), 502, "InternalServerError"),
        (reply(b"not json"), 502, "InternalServerError"),
        (hang_up(), 502, "InternalServerError"),
    ],
    "anthropic": [
        (anthropic.failure(400, "invalid_request_error", "messages: bad"), 400, "BadRequestError"),
        (anthropic.failure(401, "authentication_error", "invalid x-api-key"), 502, "InternalServerError"),
        (anthropic.failure(404, "not_found_error", "model: x"), 404, "NotFoundError"),
        (
            anthropic.failure(429, "rate_limit_error", "slow down", headers={"retry-after": "7"}),
            429,
            "RateLimitError",
        ),
        (anthropic.failure(500, "api_error", "oops"), 502, "InternalServerError"),
        (anthropic.failure(529, "overloaded_error", "Overloaded"), 503, "InternalServerError"),
        (hang_up(reset=True), 502, "InternalServerError"),
    ],
    "gemini": [
        (gemini.failure(400, "INVALID_ARGUMENT", "bad argument"), 400, "BadRequestError"),
        (gemini.failure(403, "PERMISSION_DENIED", "no"), 502, "InternalServerError"),
        (gemini.failure(404, "NOT_FOUND", "models/x is not found"), 404, "NotFoundError"),
        (gemini.failure(429, "RESOURCE_EXHAUSTED", "slow down"), 429, "RateLimitError"),
        (gemini.failure(500, "INTERNAL", "oops"), 502, "InternalServerError"),
        (gemini.failure(503, "UNAVAILABLE", "The model is overloaded."), 503, "InternalServerError"),
    ],
}
PROVIDERS = {"openai": "oa", "anthropic": "an", "gemini": "ge"}  # in the standard configuration


def check(raised: dict[str, object], status: int, class_: str) -> None:
    assert raised["status"] == status
    assert raised["class"] in (class_, None)
    assert {"message", "type", "param", "code"} <= set(raised["keys"] or [])  # type: ignore[call-overload]
    assert raised["request_id"]


@only("target", ["openai"], indirect=True)
@only("op", ["create", "stream"])
@only(("script", "status", "class_"), OPENAI_CASES, ids=[str(c[1]) for c in OPENAI_CASES])
def test_the_callers_own_errors_are_kept(ask, upstream, target, op, script, status, class_):
    upstream.always(target.upstream_model, script)
    raised = ask(op, "hello")["raised"]
    check(raised, status, class_)
    assert raised["code"] in str(script.steps)
    assert raised["type"] == "invalid_request_error"
    assert len(upstream.requests()) == 1


@only("target", ["openai", "anthropic", "gemini"], indirect=True)
@only("op", ["create", "stream"])
def test_trouble_upstream(ask, upstream, target, op, client_name):
    wrong = []
    for number, (script, status, class_) in enumerate(TROUBLE[target.name]):
        name = f"trouble-{client_name}-{op}-{number}"  # nobody else's: nothing has failed there before
        upstream.always(name, script)
        result = ask(op, "hello", model=f"{PROVIDERS[target.name]}/{name}")
        try:
            check(result["raised"], status, class_)
        except AssertionError as failed:
            wrong.append((script, result, str(failed)))
    assert not wrong


@only("target", ["openai"], indirect=True)
def test_retry_after_of_the_provider_reaches_the_client(upstream, target, gateway):
    upstream.always(
        target.upstream_model, error(429, "slow", code="rate_limit_exceeded", headers={"retry-after": "13"})
    )
    answer = gateway.chat(target.model, headers={"authorization": f"Bearer {KEY}"})
    assert (answer.status, answer.headers["retry-after"]) == (429, "13")
    assert answer.error["code"] == "rate_limit_exceeded"


@only("target", ["openai"], indirect=True)
def test_wrong_key(ask):
    raised = ask("create", "hello", job={"api_key": "sk-wrong"})["raised"]
    check(raised, 401, "AuthenticationError")
    assert raised["code"] == "invalid_api_key"
    assert "sk-wrong" not in raised["message"]


@only("target", ["openai"], indirect=True)
@only("op", ["create", "stream"])
def test_unknown_model_names_its_neighbours(ask, op, upstream):
    raised = ask(op, "hello", model="chat-opnai")["raised"]
    check(raised, 404, "NotFoundError")
    assert (raised["code"], raised["param"]) == ("model_not_found", "model")
    assert "chat-openai" in raised["message"]  # the one text that applications show
    assert upstream.requests() == []


@only("target", ["openai"], indirect=True)
def test_a_key_that_may_not_use_the_model(ask):
    raised = ask("create", "hello", model="chat-gemini", job={"api_key": f"{KEY}-narrow"})["raised"]
    assert raised["status"] in (403, 404)
    assert raised["class"] in ("PermissionDeniedError", "NotFoundError", None)
    assert ask("create", "hello", job={"api_key": f"{KEY}-narrow"})["text"] == "You said: hello"


@only("target", ["openai"], indirect=True)
def test_body_over_the_limit(ask, gateways, upstream):
    small = gateways.get({"providers": {"sim": {"kind": "mock"}}}, env={"SIGNALBOX_MAX_BODY_BYTES": "20000"})
    raised = ask("create", "x" * 30_000, model="mock/plain", job={"base_url": small.base_url})["raised"]
    check(raised, 413, "APIStatusError" if raised["class"] == "APIStatusError" else "APIError")
    assert ask("create", "x" * 5000, model="mock/plain", job={"base_url": small.base_url})["finish"] == "stop"


@only("target", ["openai"], indirect=True)
@only(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"content": "hello"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "x"}], "temperature": "hot"}, "temperature"),
        ({"messages": [{"role": "user", "content": "x"}], "model": 5}, "model"),
    ],
    ids=["missing", "empty", "string", "no role", "type", "model"],
)
def test_wrong_requests_name_the_field(ask, body, param, upstream):
    raised = ask("post", body={"model": "chat-openai"} | body, job={"path": "/chat/completions"} | _json(body))[
        "raised"
    ]
    check(raised, 400, "BadRequestError")
    assert raised["param"] == param
    assert upstream.requests() == []


def _json(body: dict[str, object]) -> dict[str, object]:
    return {"headers": {"content-type": "application/json"}, "body": {"model": "chat-openai"} | body}


@only("target", ["openai"], indirect=True)
def test_method_not_allowed_and_content_type(ask):
    raised = ask("get", job={"path": "/chat/completions"})["raised"]
    assert (raised["status"], raised["code"]) == (405, "method_not_allowed")
    body = {"model": "chat-openai", "messages": [{"role": "user", "content": "hello"}]}
    job = {"path": "/chat/completions", "headers": {"content-type": "text/plain"}, "body": body}
    raised = ask("post", job=job)["raised"]
    assert (raised["status"], raised["code"]) == (415, "unsupported_content_type")
    raised = ask("get", job={"path": "/nothing/here"})["raised"]
    assert (raised["status"], raised["class"] in ("NotFoundError", None)) == (404, True)


@only("target", ["openai"], indirect=True)
@only("reset", [False, True], ids=["fin", "rst"])
def test_a_stream_that_breaks_is_never_a_short_answer(ask, upstream, target, reset):
    events = [_chunk(f"piece {i} ") for i in range(3)]
    size = len(b"".join(s for s in sse(events).steps if isinstance(s, bytes))) - len(b"data: [DONE]\n\n")
    upstream.always(target.upstream_model, cut_after(sse(events), size, reset=reset))
    result = ask("stream", "hello")
    assert result["text"] == "piece 0 piece 1 piece 2 "
    assert result["raised"]["message"]
    assert result["raised"]["code"] == "stream_interrupted"


@only("target", ["openai"], indirect=True)
def test_an_error_inside_a_stream_is_raised_with_its_text(ask, upstream, target):
    failure = {"error": {"message": "The server had an error", "type": "server_error", "param": None, "code": None}}
    upstream.always(target.upstream_model, sse([_chunk("begun"), failure], done=False))
    result = ask("stream", "hello")
    assert result["text"] == "begun"
    assert "server had an error" in result["raised"]["message"].lower()


@only("target", ["openai"], indirect=True)
def test_retries_of_the_sdk_do_not_multiply_those_of_the_gateway(ask, upstream, target):
    upstream.always(target.upstream_model, error(500, "oops", type_="server_error"))
    check(ask("create", "hello", job={"retries": 2})["raised"], 502, "InternalServerError")
    assert len(upstream.requests()) <= 2, "those of the gateway"


@only("target", ["openai"], indirect=True)
@only("op", ["create", "stream"])
def test_the_next_candidate_answers(ask, upstream, op):
    upstream.always("up-first", error(500, "oops", type_="server_error"))
    assert ask(op, "hello", model="both")["text"] == "You said: hello"
    assert [r.model for r in upstream.requests()] == ["up-first", "up-second"]


@only("target", ["openai", "anthropic", "gemini"], indirect=True)
@only("op", ["create", "stream"])
def test_a_key_that_the_provider_quotes_does_not_come_out(ask, upstream, target, op, gateway):
    leaks: list[Script] = [
        error(400, f"Incorrect API key provided: {UPSTREAM_SECRET}. Find it on the key page."),
        error(401, f"Incorrect API key provided: {UPSTREAM_SECRET}."),
        error(500, f"Bearer {UPSTREAM_SECRET} failed"),
    ]
    for script in leaks:
        upstream.always(target.upstream_model, script)
        assert UPSTREAM_SECRET not in str(ask(op, "hello"))
    assert UPSTREAM_SECRET not in gateway.output()


def _chunk(text: str) -> dict[str, object]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
