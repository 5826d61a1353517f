"""The ASGI application: traffic goes to raw endpoints by path, everything of the control plane to FastAPI.

FastAPI's routing and middleware cost more than the whole rest of a request, so traffic does not pass through them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

from gateway.api.endpoint import Endpoint, Guard
from gateway.api.exchange import request_id_of, send_refusal
from gateway.auth import asks_for_no_key, is_any_admin
from gateway.exposure import is_loopback
from gateway.service import Service
from gateway.wire import refusals
from gateway.wire.http import Message, Receive, Scope, Send

AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
_CONTROL_PLANE = ("/admin", "/docs", "/redoc", "/openapi.json")


class Surface(StrEnum):
    """What a listener serves: with one listener all, with two the traffic on one and the control plane on the other."""

    ALL = "all"
    DATA = "data"
    ADMIN = "admin"


# By whom an endpoint may be called decides where it is served. Health is asked for on every port.
_SERVED: Mapping[Surface, frozenset[Guard]] = {
    Surface.ALL: frozenset(("caller", "open", "metrics")),
    Surface.DATA: frozenset(("caller", "open")),
    Surface.ADMIN: frozenset(("open", "metrics")),
}


class App:
    """Dispatches by path; what is not on its surface does not exist. All that a reload replaces is behind `service`."""

    def __init__(
        self,
        service: Service,
        endpoints: list[Endpoint],
        build_control_plane: Callable[[], AsgiApp],
        surface: Surface = Surface.ALL,
    ) -> None:
        self._service = service
        self._surface = surface
        self._build_control_plane = build_control_plane
        self._control_plane: AsgiApp | None = None
        self._building = asyncio.Lock()
        self._exact: dict[str, Endpoint] = {}
        self._below: list[tuple[str, Endpoint]] = []
        for endpoint in endpoints:
            if endpoint.guard not in _SERVED[surface]:
                continue
            for path in endpoint.paths:
                if path.endswith("/*"):
                    self._below.append((path[:-1], endpoint))
                else:
                    self._exact[path] = endpoint

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # Not async itself: each level of awaiting is paid again whenever a request is resumed.
        endpoint = self._exact.get(scope["path"])
        if endpoint is None:
            return self._serve_other(scope, receive, send)
        if scope["method"] in endpoint.methods and endpoint.guard == "caller":
            return endpoint.handle(self._service, scope, receive, send)
        return self._serve_guarded(endpoint, scope, receive, send)

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        for prefix, endpoint in self._below:
            if path.startswith(prefix):
                await self._serve_guarded(endpoint, scope, receive, send)
                return
        if self._surface is not Surface.DATA and path.startswith(_CONTROL_PLANE):
            control_plane = await self._get_control_plane()
            await control_plane(scope, receive, _with_request_id(self._service, scope, send))
            return
        await self._refuse("unknown", refusals.not_found(path), scope, send)

    def note_refusal(self, error: refusals.RefusedError) -> str:
        """Report a request that was refused before it was one; returns an id for its answer."""
        request_id = self._service.new_request_id()
        self._service.recorder.refused("connection", request_id, error)
        return request_id

    async def _get_control_plane(self) -> AsgiApp:
        """Built at its first use, in a thread, because most processes are never asked for it."""
        async with self._building:
            if self._control_plane is None:
                self._control_plane = await asyncio.to_thread(self._build_control_plane)
            return self._control_plane

    async def _serve_guarded(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method not in endpoint.methods and not (method == "HEAD" and "GET" in endpoint.methods):
            await self._refuse(endpoint.paths[0], refusals.method_not_allowed(method, endpoint.methods), scope, send)
            return
        if endpoint.guard == "metrics" and not self._may_read_metrics(scope):
            await self._refuse(endpoint.paths[0], refusals.admin_key_needed(), scope, send)
            return
        await endpoint.handle(self._service, scope, receive, send)

    def _may_read_metrics(self, scope: Scope) -> bool:
        """Whoever has an admin key. Where there is none, the listener or the machine decides who gets here."""
        settings, runtime = self._service.settings, self._service.runtime
        admin_key, admins = settings.admin_key, runtime.ring.admins
        if settings.metrics_open:
            return True
        if admin_key is None and not admins:
            return self._surface is Surface.ADMIN or (is_loopback(settings) and asks_for_no_key(runtime.keys))
        own = None if admin_key is None else admin_key.get_secret_value()
        return is_any_admin(dict(scope["headers"]), own, admins)

    async def _refuse(self, endpoint: str, error: refusals.RefusedError, scope: Scope, send: Send) -> None:
        request_id = request_id_of(self._service, dict(scope["headers"]))
        self._service.recorder.refused(endpoint, request_id, error)
        await send_refusal(send, error, request_id)


def _with_request_id(service: Service, scope: Scope, send: Send) -> Send:
    request_id = request_id_of(service, dict(scope["headers"])).encode()

    async def with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(b"x-request-id", request_id), (b"cache-control", b"no-store")]
            message = {**message, "headers": [*message["headers"], *own]}
        await send(message)

    return with_id
