"""What an endpoint module offers: `ENDPOINT`, found by scanning this package; there is no list to edit."""

import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Literal

import gateway.api
from gateway.wire.http import Receive, Scope, Send

if TYPE_CHECKING:
    from gateway.service import Service

# Who may call: `caller` needs a virtual key where keys are configured, `open` answers everybody, `metrics` as
# settings say.
Guard = Literal["caller", "open", "metrics"]
Handler = Callable[["Service", Scope, Receive, Send], Awaitable[None]]


@dataclass(slots=True, frozen=True)
class Endpoint:
    """A raw ASGI endpoint. `paths` are exact; one ending in `/*` takes everything below it. `summary` documents it."""

    paths: tuple[str, ...]
    methods: tuple[str, ...]
    guard: Guard
    summary: str
    handle: Handler
    responses: dict[int, str] = field(default_factory=dict)


def endpoints() -> list[Endpoint]:
    """Every endpoint of this installation."""
    found = []
    for module_info in pkgutil.iter_modules(gateway.api.__path__):
        endpoint = getattr(import_module(f"gateway.api.{module_info.name}"), "ENDPOINT", None)
        if endpoint is not None:
            found.append(endpoint)
    return found
