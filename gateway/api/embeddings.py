"""POST /v1/embeddings."""

from collections.abc import Awaitable

from gateway.api.endpoint import Endpoint
from gateway.api.exchange import serve_exchange
from gateway.service import Service
from gateway.wire.http import Receive, Scope, Send


def _handle(service: Service, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    return serve_exchange(service, "embeddings", scope, receive, send)


ENDPOINT = Endpoint(
    ("/v1/embeddings", "/embeddings"), ("POST",), "caller", "Turn texts into vectors, as floats or base64.", _handle
)
