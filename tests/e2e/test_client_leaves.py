"""A client that goes away stops the upstream call at once, in every phase; what it used is still counted."""

import time

import pytest

from tests.fakes.gateway import Gateway
from tests.fakes.promptness import typical
from tests.fakes.script import endless_stream, silent

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize

# The promise is 0.1 s on a quiet machine. A gateway that did not watch its client would hold the upstream call for 10 s
# in every try, until its own limits end it; so a try that other load has spoilt may be repeated.
CLOSED_WITHIN_S = 0.5
CHUNK = {
    "id": "c1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "four more words here"}, "finish_reason": None}],
}
EVERY = ["direct", "openai", "anthropic", "gemini"]


@only("target", ["direct", "openai"], indirect=True)
def test_during_a_stream(ask, upstream, target, measured):
    upstream.always(target.upstream_model, endless_stream(CHUNK, delay_s=0.01))
    before = counted(target.gateway)

    def once():
        asked = len(upstream.requests())
        result = ask("leave_stream", "hello")
        assert result["text"] == "four more words here"
        took = upstream.requests()[asked].wait_closed() - result["left_at"]
        measured("upstream closed after ms", took * 1000)
        assert len(upstream.requests()) == asked + 1
        return took

    assert typical(once, CLOSED_WITHIN_S) < CLOSED_WITHIN_S
    if target.gateway is not None:
        for (name, labels), value in before.items():
            target.gateway.wait_metric(name, value + 1, **dict(labels))


def counted(gateway: Gateway | None) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What has to move when a client leaves: the leaving itself, and the tokens it had been sent."""
    if gateway is None:
        return {}
    gone = ("signalbox_client_gone_total", (("phase", "stream"),))
    output = ("signalbox_tokens_total", (("deployment", "oa/up-openai"), ("class", "output")))
    prompt = ("signalbox_tokens_total", (("deployment", "oa/up-openai"), ("class", "input")))
    return {(name, labels): gateway.metric(name, **dict(labels)) for name, labels in (gone, output, prompt)}


@only("target", EVERY, indirect=True)
@only("stream", [False, True], ids=["whole", "stream"])
def test_before_the_first_byte(ask, upstream, target, stream, measured):
    upstream.always(target.upstream_model, silent())

    def once():
        asked, result = leave_early(ask, upstream, stream=stream)
        closed_at = upstream.requests()[asked].wait_closed()
        measured("upstream closed after ms", (closed_at - result["left_at"]) * 1000)
        assert closed_at > result["not_before"] - 0.1
        assert len(upstream.requests()) == asked + 1
        return closed_at - result["left_at"]

    assert typical(once, CLOSED_WITHIN_S) < CLOSED_WITHIN_S


def leave_early(ask, upstream, **body):
    """Leave when the upstream has the request. How many it had had before, and what the client says."""
    for after_s in (0.2, 1.0, 3.0):  # on a busy machine a client may have left before it had even asked
        asked = len(upstream.requests())
        result = ask("leave_early", "hello", job={"after_s": after_s}, **body)
        if len(upstream.requests()) > asked:
            return asked, result
        time.sleep(after_s)  # for what it may have asked in its last moment: that belongs to no other try
    raise AssertionError("the client never asked")


@only("target", ["openai"], indirect=True)
def test_the_connection_to_the_provider_is_not_lost(ask, upstream, target):
    """After a cancelled call the gateway goes on as if nothing had happened."""
    upstream.always(target.upstream_model, silent())
    leave_early(ask, upstream)
    upstream.always(target.upstream_model, endless_stream(CHUNK, delay_s=0.01))
    ask("leave_stream", "hello")
    upstream.always(target.upstream_model, lambda _: None)
    for _ in range(3):
        assert ask("create", "hello")["text"] == "You said: hello"
