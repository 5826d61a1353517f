"""What every test gets: no network but loopback, one hypothesis profile, the shared data, fakes that last a session."""

import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from benchmarks.network import leave_pacing_behind
from tests.fakes import forked

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
    if not hasattr(config, "workerinput"):  # the workers of xdist are started by this process, and are where it is
        leave_pacing_behind()  # where it is not permitted, what streams takes longer and costs more
        if config.getoption("numprocesses", None) and sys.platform == "linux":
            server = forked.ForkServer()
            os.environ[forked.ADDRESS] = server.address
            config.add_cleanup(server.close)
    sys.addaudithook(_guard)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that share something costly become neighbours in an order that is random otherwise.

    Workers take runs of tests, so one of them does most of a group (`xdist_group`) and few repeat what it shares.
    """
    places: dict[Path | str, int] = {}
    groups: dict[Path, Path | str] = {}
    for number, item in enumerate(items):
        if item.path not in groups:
            mark = item.get_closest_marker("xdist_group")
            groups[item.path] = item.path if mark is None else mark.args[0]
            places.setdefault(groups[item.path], number)
    items.sort(key=lambda item: places[groups[item.path]])


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
