"""One gateway for the matrix, the proxy that spoils its answers, and lanes that no two tests share."""

from collections.abc import Callable, Iterator

import pytest

from tests.fakes.chaos import ChaosProxy, SynDrop
from tests.fakes.gateway import Gateway, GatewayPool
from tests.fakes.upstream import FakeUpstream, refusing_port
from tests.faults.setup import Lane, lanes, matrix_config

TakeLane = Callable[..., Lane]


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="session")
def chaos(_upstream_process: FakeUpstream) -> Iterator[ChaosProxy]:
    with ChaosProxy(_upstream_process.port) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def _addresses() -> Iterator[tuple[str, str]]:
    """Where connections are refused, and where they hang."""
    with refusing_port() as refusing, SynDrop() as dropping:
        yield f"http://127.0.0.1:{refusing.getsockname()[1]}", dropping.base_url


@pytest.fixture(scope="session")
def _lanes() -> dict[str, Iterator[Lane]]:
    return lanes()


@pytest.fixture
def lane(_lanes: dict[str, Iterator[Lane]]) -> TakeLane:
    """Hands out a lane of one kind of provider that was never used."""
    return lambda kind="openai": next(_lanes[kind])


@pytest.fixture(scope="session")
def _gateway(
    gateways: GatewayPool, _upstream_process: FakeUpstream, chaos: ChaosProxy, _addresses: tuple[str, str]
) -> Gateway:
    return gateways.get(matrix_config(_upstream_process.base_url, chaos.base_url, *_addresses), is_kept=True)


@pytest.fixture
def gateway(_gateway: Gateway, upstream: FakeUpstream) -> Gateway:
    """The gateway of the matrix, shared by the session; its provider without scripts."""
    return _gateway
