"""How the mock behaves and misbehaves as an upstream: pacing, every failure by name, cancellation."""

import asyncio
import json
from typing import Any

import pytest

from providers import registry
from providers.base import Call, Cause, ErrorKind, ProviderError, ProviderOptions, Request, Target
from providers.mock import MISBEHAVIOURS, Mock, build

HELLO = [{"role": "user", "content": "Hello there, tell me about trains"}]
LIMIT = 1_000_000


class Naps:
    """A sleep that takes no time and remembers what was asked of it."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


def mock(naps: Naps | None = None, **extra: Any) -> Mock:
    return build(ProviderOptions("sim", "mock", extra=extra), sleep=naps or Naps(), clock=lambda: 1_760_000_000)


def call(model: str, **body: Any) -> Call:
    content = {"model": model, "messages": HELLO, **body}
    return Call("http://mock.invalid/v1/chat/completions", [], json.dumps(content).encode())


def ask(model: str, provider: Mock | None = None, **body: Any) -> tuple[int, dict[str, str], bytes]:
    async def run() -> tuple[int, dict[str, str], bytes]:
        async with (provider or mock()).transport.open(call(model, **body)) as exchange:
            return exchange.status, dict(exchange.headers), await exchange.read(LIMIT)

    return asyncio.run(run())


async def drain(provider: Mock, model: str, *, fresh: bool = False) -> list[bytes]:
    pieces: list[bytes] = []
    async with provider.transport.open(call(model, stream=True), fresh=fresh) as exchange:
        while (piece := await exchange.chunk()) is not None:
            pieces.append(piece)
    return pieces


@pytest.mark.parametrize(
    ("model", "status", "code", "kind"),
    [
        ("401", 401, "invalid_api_key", ErrorKind.CREDENTIALS),
        ("429", 429, "rate_limit_exceeded", ErrorKind.THROTTLED),
        ("500", 500, None, ErrorKind.BROKEN),
        ("503", 503, None, ErrorKind.OVERLOADED),
        ("mock/503", 503, None, ErrorKind.OVERLOADED),
        ("quota", 429, "insufficient_quota", ErrorKind.MONEY),
        ("context", 400, "context_length_exceeded", ErrorKind.CONTEXT_LENGTH),
        ("529", 529, None, ErrorKind.OVERLOADED),
        ("404", 404, None, ErrorKind.CALLER),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_error_statuses(model: str, status: int, code: str | None, kind: ErrorKind, stream: bool) -> None:
    seen, headers, body = ask(model, stream=stream)
    error = json.loads(body)["error"]
    assert seen == status
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    if model != "404":  # what an unknown model means is the dialect's to decide
        assert mock().error(seen, headers, body).kind is kind


def test_throttling_says_when_to_come_back() -> None:
    _, headers, body = ask("429", mock(retry_after_s=1.5))
    assert headers["retry-after"] == "2"
    assert headers["retry-after-ms"] == "1500"
    assert mock().error(429, headers, body).retry_after_s == pytest.approx(1.5)
    assert "retry-after" not in ask("quota")[1]


def test_pacing_is_lognormal_around_what_was_asked_and_reproducible() -> None:
    naps = Naps()
    provider = mock(naps, ttft_s=0.5, tpot_s=0.01, length=200)
    pieces = asyncio.run(drain(provider, "gpt"))
    assert 0.2 < naps.taken[0] < 1.2
    per_token = sorted(nap for nap in naps.taken[1:] if nap > 0)
    assert len(per_token) == 199
    assert 0.008 < per_token[100] < 0.012
    assert per_token[0] < per_token[-1]
    again = Naps()
    assert asyncio.run(drain(mock(again, ttft_s=0.5, tpot_s=0.01, length=200), "gpt")) == pieces
    assert again.taken == naps.taken


def test_whole_answer_takes_as_long_as_its_tokens() -> None:
    naps = Naps()
    ask("gpt", mock(naps, ttft_s=0.5, tpot_s=0.01, length=100))
    (nap,) = naps.taken
    assert 0.9 < nap < 2.7


def test_reasoning_delays_the_first_token() -> None:
    naps = Naps()
    ask("gpt", mock(naps, ttft_s=0.0, tpot_s=1.0, length=1), reasoning_effort="low")
    assert naps.taken[0] >= 64


def test_without_pace_nothing_waits_but_a_stream_yields_to_others() -> None:
    naps = Naps()
    provider = mock(naps, pace=False)
    ask("gpt", provider)
    assert naps.taken == []
    pieces = asyncio.run(drain(provider, "gpt"))
    assert naps.taken == [0.0] * len(pieces)


def test_slow_waits_before_the_head() -> None:
    naps = Naps()
    status, _, _ = ask("slow", mock(naps, slow_s=7))
    assert status == 200
    assert naps.taken == [7]


async def silent(awaitable: Any) -> bool:
    """Whether nothing comes, however often the loop turns."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(50):
        await asyncio.sleep(0)
    is_silent = not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return is_silent


def test_stall_sends_some_tokens_and_then_nothing_for_ever() -> None:
    async def run() -> None:
        async with mock().transport.open(call("stall", stream=True)) as exchange:
            pieces = [await exchange.chunk() for _ in range(4)]
            assert all(piece and b'"content"' in piece for piece in pieces)
            assert await silent(exchange.chunk())
        async with mock().transport.open(call("stall")) as exchange:
            assert exchange.status == 200
            assert await silent(exchange.read(LIMIT))

    asyncio.run(run())


def test_hang_has_not_even_a_head() -> None:
    async def run() -> None:
        assert await silent(mock().transport.open(call("hang")).__aenter__())

    asyncio.run(run())


def test_cut_stream_ends_without_a_finish() -> None:
    pieces = asyncio.run(drain(mock(), "cut-stream"))
    assert pieces
    body = b"".join(pieces)
    assert b"[DONE]" not in body
    assert b'"finish_reason":"' not in body


@pytest.mark.parametrize(
    ("model", "stream", "kind", "cause"),
    [
        ("cut-stream", False, ErrorKind.BROKEN, Cause.RESET),
        ("reset", False, ErrorKind.BROKEN, Cause.RESET),
        ("reset", True, ErrorKind.BROKEN, Cause.RESET),
        ("reset-late", False, ErrorKind.BROKEN, Cause.RESET),
        ("reset-late", True, ErrorKind.BROKEN, Cause.RESET),
        ("unreachable", False, ErrorKind.BROKEN, Cause.CONNECT),
        ("stale", True, ErrorKind.STALE, Cause.RESET),
    ],
)
def test_broken_connections(model: str, stream: bool, kind: ErrorKind, cause: Cause) -> None:
    with pytest.raises(ProviderError) as caught:
        asyncio.run(drain(mock(), model)) if stream else ask(model)
    assert (caught.value.kind, caught.value.cause) == (kind, cause)


def test_reset_late_comes_after_some_content() -> None:
    async def run() -> int:
        seen = 0
        async with mock().transport.open(call("reset-late", stream=True)) as exchange:
            with pytest.raises(ProviderError):
                while await exchange.chunk():
                    seen += 1
        return seen

    assert asyncio.run(run()) == 4


def test_stale_works_on_a_fresh_connection() -> None:
    assert asyncio.run(drain(mock(), "stale", fresh=True))[-1] == b"data: [DONE]\n\n"


def test_garbage_is_no_json() -> None:
    status, _, body = ask("garbage")
    assert status == 200
    with pytest.raises(ValueError):
        json.loads(body)
    assert b"data: oops" in b"".join(asyncio.run(drain(mock(), "garbage")))


def test_empty_has_no_body_and_blank_no_content() -> None:
    assert ask("empty")[::2] == (200, b"")
    assert asyncio.run(drain(mock(), "empty")) == []
    choice = json.loads(ask("blank")[2])["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")


def test_error_frame_is_an_error_inside_a_good_answer() -> None:
    pieces = asyncio.run(drain(mock(), "error-frame"))
    assert b'"content"' in pieces[1]
    assert b'"error"' in pieces[-1]
    status, _, body = ask("error-frame")
    assert status == 200
    assert "error" in json.loads(body)


@pytest.mark.parametrize("stream", [False, True])
def test_refusal_tools_and_json_by_name(stream: bool) -> None:
    def body(model: str) -> bytes:
        return b"".join(asyncio.run(drain(mock(), model))) if stream else ask(model)[2]

    assert b'"refusal":"I' in body("refuse")
    assert b'"finish_reason":"tool_calls"' in body("tools")
    assert b'\\"answer' in body("json") or b"answer" in body("json")


def test_every_misbehaviour_is_reachable_and_ends_or_is_meant_to_hang() -> None:
    async def run(model: str) -> None:
        for stream in (False, True):
            try:
                async with asyncio.timeout(0.2), mock().transport.open(call(model, stream=stream)) as exchange:
                    while await exchange.chunk() is not None:
                        pass
            except (ProviderError, TimeoutError):
                continue

    for model in MISBEHAVIOURS:
        asyncio.run(run(model))


def test_fault_makes_every_model_of_the_provider_fail() -> None:
    assert ask("gpt-5-mini", mock(fault="503"))[0] == 503


def test_reading_beyond_the_limit_is_refused() -> None:
    async def run() -> None:
        async with mock().transport.open(call("gpt")) as exchange:
            with pytest.raises(ProviderError) as caught:
                await exchange.read(10)
            assert caught.value.cause is Cause.TOO_LARGE

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "body", "status"),
    [
        ("http://mock.invalid/v1/images", b"{}", 404),
        ("http://mock.invalid/v1/chat/completions", b"{", 400),
        ("http://mock.invalid/v1/chat/completions", b"[]", 400),
    ],
)
def test_calls_it_cannot_read(url: str, body: bytes, status: int) -> None:
    async def run() -> int:
        async with mock().transport.open(Call(url, [], body)) as exchange:
            return exchange.status

    assert asyncio.run(run()) == status


def test_leaving_the_context_stops_everything() -> None:
    async def run() -> None:
        provider = build(ProviderOptions("sim", "mock", extra={"ttft_s": 30, "tpot_s": 30}))
        before = len(asyncio.all_tasks())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02), provider.transport.open(call("gpt", stream=True)):
                pytest.fail("the head must not have come yet")
        quick = build(ProviderOptions("sim", "mock", extra={"ttft_s": 0, "tpot_s": 30}))
        async with quick.transport.open(call("gpt", stream=True)) as exchange:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    while True:
                        await exchange.chunk()
        assert await exchange.chunk() is None
        assert len(asyncio.all_tasks()) == before

    asyncio.run(run())


@pytest.mark.parametrize(
    ("extra", "word"),
    [
        ({"ttft_s": -1}, "ttft_s"),
        ({"tpot_s": "fast"}, "tpot_s"),
        ({"pace": "no"}, "pace"),
        ({"length": 0}, "length"),
        ({"fault": "boom"}, "fault"),
        ({"tftt_s": 1}, "tftt_s"),
    ],
)
def test_unusable_options_are_named(extra: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        mock(**extra)


def test_it_is_found_by_its_kind_and_needs_no_key() -> None:
    assert "mock" in registry.kinds()
    assert "mock" not in registry.env_keys()
    provider = registry.build(ProviderOptions("sim", "mock"))
    body = {"model": "auto", "messages": HELLO}
    request = Request("chat", body, json.dumps(body).encode(), "auto", False, False, "id")
    assert provider.call(request, Target("429")).url.startswith("http://mock.invalid/")
