"""What every test gets: no network but loopback, one hypothesis profile, the shared data, fakes that last a session."""

import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.fakes.gateway import GatewayPool
    from tests.fakes.upstream import FakeUpstream

_LOOPBACK_NAMES = frozenset({"localhost", "", None})

# A loaded machine must not fail a property; examples are what is limited.
settings.register_profile("signalbox", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("signalbox")


class NetworkForbiddenError(RuntimeError):
    """A test reached for something outside this machine."""


def _is_loopback(host: Any) -> bool:
    text = host.decode() if isinstance(host, bytes) else host
    if text in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook, because it also sees sockets that libraries open behind the socket module's back."""
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if isinstance(address, tuple) and not _is_loopback(address[0]):
            raise NetworkForbiddenError(f"a test tried to reach {address[0]}:{address[1]}; only loopback is allowed")
    elif event == "socket.getaddrinfo" and not _is_loopback(arguments[0]):
        raise NetworkForbiddenError(f"a test tried to resolve {arguments[0]!r}; only loopback is allowed")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "e2e: runs the real gateway, or real clients, as processes")
    sys.addaudithook(_guard)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The development data beside the checkout; the test is skipped where it is absent."""
    folder = Path(os.environ.get("SIGNALBOX_SHARED") or Path(__file__).parents[2] / "shared")
    if not folder.is_dir():
        pytest.skip("the shared development data is not on this machine")
    return folder


@pytest.fixture(scope="session")
def _upstream_process() -> Iterator["FakeUpstream"]:
    from tests.fakes.upstream import FakeUpstream

    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(_upstream_process: "FakeUpstream") -> "FakeUpstream":
    """A scripted provider without scripts and memories. Its address stays the same for the whole session."""
    _upstream_process.reset()
    return _upstream_process


@pytest.fixture(scope="session")
def gateways() -> Iterator["GatewayPool"]:
    """Running gateways by configuration."""
    from tests.fakes.gateway import GatewayPool

    pool = GatewayPool()
    yield pool
    pool.close()
