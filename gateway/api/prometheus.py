"""GET /metrics in Prometheus' text format."""

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST

from gateway.api.endpoint import Endpoint
from gateway.service import Service
from gateway.wire import http
from gateway.wire.http import Receive, Scope, Send


async def _handle(service: Service, _scope: Scope, _receive: Receive, send: Send) -> None:
    metrics = service.recorder.metrics
    metrics.in_flight.set(service.in_flight)
    metrics.tasks.set(len(asyncio.all_tasks()))
    metrics.flush()
    body = service.render_metrics()
    headers = [(b"content-type", CONTENT_TYPE_LATEST.encode()), (b"cache-control", b"no-store")]
    await http.send_whole(send, 200, headers, body)


ENDPOINT = Endpoint(("/metrics",), ("GET",), "metrics", "Every series of the gateway for Prometheus.", _handle)
