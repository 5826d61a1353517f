"""POST /v1/chat/completions."""

from collections.abc import Awaitable

from gateway.api.endpoint import Endpoint
from gateway.api.exchange import serve_exchange
from gateway.service import Service
from gateway.wire.http import Receive, Scope, Send


def _handle(service: Service, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    return serve_exchange(service, "chat", scope, receive, send)


ENDPOINT = Endpoint(
    ("/v1/chat/completions", "/chat/completions"),
    ("POST",),
    "caller",
    "Answer a conversation, whole or streamed.",
    _handle,
)
