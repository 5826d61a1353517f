"""POST /v1/completions."""

from collections.abc import Awaitable

from gateway.api.endpoint import Endpoint
from gateway.api.exchange import serve_exchange
from gateway.service import Service
from gateway.wire.http import Receive, Scope, Send


def _handle(service: Service, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    return serve_exchange(service, "completions", scope, receive, send)


ENDPOINT = Endpoint(
    ("/v1/completions", "/completions"),
    ("POST",),
    "caller",
    "Complete a text (the older API), whole or streamed.",
    _handle,
)
