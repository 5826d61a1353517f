"""Clients and targets of the matrix."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, Protocol

import pytest

from tests.clients.drivers import CLIENTS, Client
from tests.e2e.setup import KEY, Target, standard_config
from tests.fakes.gateway import Gateway, GatewayPool
from tests.fakes.upstream import FakeUpstream


class Ask(Protocol):
    """Do one operation with a client. Keywords are the body's fields; `text` stands for one user message."""

    def __call__(self, op: str, text: str | None = None, *, job: dict[str, Any] | None = None, **body: Any) -> Any: ...


Measured = Callable[[str, float], None]


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Note a figure; the summary of the run shows the spread of each over all cases of its test."""
    properties = request.node.user_properties
    return lambda name, value: properties.append((name, round(value, 2)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    figures: dict[str, list[float]] = defaultdict(list)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                test = report.nodeid.partition("[")[0].rpartition("::")[2]
                for name, value in report.user_properties:
                    figures[f"{test}: {name}"].append(value)
    if figures:
        terminalreporter.section("measured")
    for label, values in sorted(figures.items()):
        spread = f"min {min(values):g}, median {median(values):g}, max {max(values):g}, of {len(values)}"
        terminalreporter.write_line(f"{label}: {spread if len(values) > 1 else format(values[0], 'g')}")


@pytest.fixture
def gateway(gateways: GatewayPool, upstream: FakeUpstream) -> Gateway:
    """A gateway with the standard configuration, shared by the session."""
    return gateways.get(standard_config(upstream))


@pytest.fixture(scope="session")
def _clients() -> Iterator[dict[str, Client]]:
    running: dict[str, Client] = {}
    yield running
    for client in running.values():
        client.close()


# A client takes a second to start: modules that drive them are neighbours, so that few workers start them all.
@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group("clients")) for name in CLIENTS])
def client_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(client_name: str, _clients: dict[str, Client]) -> Client:
    if client_name not in _clients:
        _clients[client_name] = CLIENTS[client_name]()
    return _clients[client_name]


# "direct" has no gateway in between: what holds there is what the gateway has to keep.
ALL_TARGETS = ("direct", "openai", "anthropic", "gemini")


@pytest.fixture(params=ALL_TARGETS)
def target(request: pytest.FixtureRequest, upstream: FakeUpstream) -> Target:
    name = str(request.param)
    if name == "direct":
        return Target(name, f"{upstream.base_url}/v1", "up-openai", "up-openai")
    gateway: Gateway = request.getfixturevalue("gateway")
    return Target(name, gateway.base_url, f"chat-{name}", f"up-{name}", gateway)


@pytest.fixture
def ask(client: Client, target: Target) -> Ask:
    """The client, pointed at the target."""

    def run(op: str, text: str | None = None, *, job: dict[str, Any] | None = None, **body: Any) -> Any:
        if text is not None:
            body["messages"] = [{"role": "user", "content": text}]
        address = {"base_url": target.base_url, "api_key": KEY, "retries": 0}
        return client.run({"op": op, "body": {"model": target.model} | body} | address | (job or {}))

    return run
