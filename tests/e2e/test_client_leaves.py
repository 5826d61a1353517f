"""A client that goes away stops the upstream call at once, in every phase; what it used is still counted."""

import pytest

from tests.fakes.gateway import Gateway
from tests.fakes.script import endless_stream, silent

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize

# The bar is 0.1 s on a quiet machine; the rest is room for two busy cores.
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
    result = ask("leave_stream", "hello")
    assert result["text"] == "four more words here"
    request = upstream.wait_requests(1)[0]
    took = request.wait_closed() - result["left_at"]
    measured("upstream closed after ms", took * 1000)
    assert took < CLOSED_WITHIN_S
    assert len(upstream.requests()) == 1
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
    for after_s in (0.3, 1.0, 3.0):  # on a busy machine a client may have left before it had even asked
        result = ask("leave_early", "hello", stream=stream, job={"after_s": after_s})
        if upstream.requests():
            break
    request = upstream.wait_requests(1)[0]
    took = request.wait_closed() - result["left_at"]
    measured("upstream closed after ms", took * 1000)
    assert -0.1 < took < CLOSED_WITHIN_S
    assert len(upstream.requests()) == 1


@only("target", ["openai"], indirect=True)
def test_the_connection_to_the_provider_is_not_lost(ask, upstream, target):
    """After a cancelled call the gateway goes on as if nothing had happened."""
    upstream.script(target.upstream_model, silent(), endless_stream(CHUNK, delay_s=0.01))
    ask("leave_early", "hello", job={"after_s": 0.2})
    ask("leave_stream", "hello")
    for _ in range(3):
        assert ask("create", "hello")["text"] == "You said: hello"
