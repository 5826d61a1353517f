"""The head of a client's request: what is too much, and how one is written again."""

from collections.abc import Callable
from typing import Any

from gateway.wire import answers, http, refusals
from gateway.wire.http import Headers, Receive, Scope, Send

MAX_HEAD_BYTES = 32 * 1024
MAX_FIELDS = 100
MAX_TARGET_BYTES = 8 * 1024
_UPGRADE_FIELDS = frozenset({b"upgrade", b"http2-settings"})


def refuse(url: bytes, lines: Headers) -> refusals.RefusedError | None:
    """What is said to a head that is larger than any that means well; None to all others."""
    if len(url) > MAX_TARGET_BYTES:
        return target_too_long()
    if len(lines) > MAX_FIELDS:
        return refusals.head_too_large(f"The request has more than {MAX_FIELDS} header fields.", 431)
    if len(url) + sum(len(name) + len(value) for name, value in lines) > MAX_HEAD_BYTES:
        return too_large()
    return None


def refusing(error: refusals.RefusedError, request_id: str) -> Callable[..., Any]:
    """An application that says so to its one request."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = answers.refusal_headers(error.refusal, request_id)
        await http.send_whole(send, error.refusal.status, headers, answers.refusal_body(error.refusal))

    return app


def target_too_long() -> refusals.RefusedError:
    """414."""
    return refusals.head_too_large(f"The request target is longer than {MAX_TARGET_BYTES} bytes.", 414)


def too_large() -> refusals.RefusedError:
    """431."""
    return refusals.head_too_large(f"The request head is larger than {MAX_HEAD_BYTES} bytes.", 431)


def without_upgrade(method: bytes, url: bytes, version: str, lines: Headers) -> bytes:
    """The head again, without the offer to speak another protocol."""
    kept = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    for name, value in lines:
        if name == b"connection":
            kept += [b"connection: close"] if b"close" in value.lower() else []
        elif name not in _UPGRADE_FIELDS:
            kept.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*kept, b"", b""])
