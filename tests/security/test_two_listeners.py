"""With an admin port, traffic and administration are on listeners of their own, and neither has what is the other's."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from hashlib import sha256

import pytest

from gateway.api.endpoint import endpoints
from tests.e2e.setup import KEY, key_row
from tests.fakes.gateway import ADMIN_KEY, PROGRAM, Gateway
from tests.fakes.http import raw, send
from tests.gateway.test_serving import ask, read_all, wait_until

pytestmark = pytest.mark.e2e
MOCK = {"providers": {"sim": {"kind": "mock", "pace": False}}}
LOCKED = MOCK | {"keys": [key_row("tester", KEY)]}
CHAT = {"model": "sim/echo", "messages": [{"role": "user", "content": "hi"}]}
ROUTES = [
    (endpoint.guard, method, path.replace("/*", "/some/name"))
    for endpoint in endpoints()
    for path in endpoint.paths
    for method in endpoint.methods
]
PAGES = ("/docs", "/redoc", "/openapi.json")


def by(field: str, secret: str) -> Mapping[str, str]:
    return {field: f"Bearer {secret}" if field == "authorization" else secret}


@pytest.fixture(scope="module")
def locked() -> Iterator[Gateway]:
    with Gateway(LOCKED, has_admin_port=True) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def open_gateway() -> Iterator[Gateway]:
    with Gateway(MOCK, has_admin_port=True) as gateway:
        yield gateway


def admin_paths(gateway: Gateway) -> list[tuple[str, str]]:
    document = send(f"{gateway.admin_url}/openapi.json").json["paths"]
    found = [
        (re.sub(r"[{}]", "", path), method.upper())
        for path, of in document.items()
        if path.startswith("/admin")
        for method in of
    ]
    assert found
    return found


@pytest.mark.parametrize("secret", [None, KEY, ADMIN_KEY])
@pytest.mark.parametrize("field", ["authorization", "x-api-key"])
def test_what_is_on_the_one_is_not_on_the_other(locked: Gateway, field: str, secret: str | None) -> None:
    """Every route that there is, with every credential that there is."""
    headers = by(field, secret) if secret is not None else {}

    def status(root: str, method: str, path: str) -> int:
        return send(root + path, {} if method == "POST" else None, method=method, headers=headers).status

    for guard, method, path in ROUTES:
        data, admin = status(locked.root_url, method, path), status(locked.admin_url, method, path)
        if guard == "open":
            assert (data, admin) == (200, 200), path
        elif guard == "caller":
            assert admin == 404, path
            assert data in ({400, 404, 200} if secret == KEY else {401}), (path, data)
        else:
            assert data == 404, path
            assert admin == (200 if secret == ADMIN_KEY else 401), path
    for path, method in admin_paths(locked):
        assert status(locked.root_url, method, path) == 404, path
        if secret != ADMIN_KEY:
            assert status(locked.admin_url, method, path) == 401, path
    for path in PAGES:
        assert (status(locked.root_url, "GET", path), status(locked.admin_url, "GET", path)) == (404, 200)


@pytest.mark.parametrize("field", ["authorization", "x-api-key"])
def test_an_open_gateway_refuses_the_admin_key_among_the_traffic(open_gateway: Gateway, field: str) -> None:
    for path, body in (("chat/completions", CHAT), ("feedback", {"request_id": "x", "score": 1}), ("models", None)):
        answer = send(f"{open_gateway.base_url}/{path}", body, headers=by(field, ADMIN_KEY))
        assert (answer.status, answer.error["code"]) == (401, "admin_key_in_traffic"), path
    for headers in ({}, by(field, "unused")):
        assert open_gateway.chat("sim/echo", headers=headers).status == 200
        assert send(f"{open_gateway.admin_url}/admin/reload", {}, headers=headers).status == 401


@pytest.mark.parametrize("workers", [1, 2])
def test_the_admin_key_cannot_be_a_callers_too(workers: int) -> None:
    config = MOCK | {"keys": [key_row("tester", ADMIN_KEY)]}
    with pytest.raises(AssertionError, match="SIGNALBOX_ADMIN_KEY is the secret"), Gateway(config, workers=workers):
        pass


def test_a_key_of_the_file_for_administration_reads_the_metrics() -> None:
    reader = {"name": "prometheus", "sha256": sha256(b"sbx-of-prometheus").hexdigest(), "role": "viewer"}
    with Gateway(MOCK | {"admin_keys": [reader]}, env={"SIGNALBOX_ADMIN_KEY": ""}) as gateway:
        page = f"{gateway.root_url}/metrics"
        assert send(page).status == 401
        assert send(page, headers=by("authorization", "sbx-of-prometheus")).status == 200
        assert gateway.chat("sim/echo", headers=by("x-api-key", "sbx-of-prometheus")).status == 401


def test_without_an_admin_key_the_metrics_are_not_for_callers() -> None:
    """Not on their port: one of its own is for those who may reach it, and a setting opens it to all."""
    for more, status in (({}, 401), ({"SIGNALBOX_METRICS_OPEN": "true"}, 200)):
        with Gateway(LOCKED, env={"SIGNALBOX_ADMIN_KEY": "", **more}) as gateway:
            page = f"{gateway.root_url}/metrics"
            assert [send(page, headers=given).status for given in ({}, by("authorization", KEY))] == [status] * 2
            assert ("/metrics (with the admin key)" in gateway.output()) == (status == 401)
    with Gateway(LOCKED, env={"SIGNALBOX_ADMIN_KEY": ""}, has_admin_port=True) as gateway:
        assert send(f"{gateway.admin_url}/metrics").status == 200
        assert "(with the admin key)" not in gateway.output()


def test_an_open_gateway_shows_its_metrics_on_loopback_alone() -> None:
    for host, status in (("127.0.0.1", 200), ("0.0.0.0", 401)):
        env = {"SIGNALBOX_ADMIN_KEY": "", "SIGNALBOX_HOST": host, "SIGNALBOX_ALLOW_ANONYMOUS": "true"}
        with Gateway(MOCK, env=env) as gateway:
            assert send(f"{gateway.root_url}/metrics").status == status, host


@pytest.mark.parametrize("field", ["authorization", "x-api-key"])
def test_the_admin_listener_is_administered(locked: Gateway, field: str) -> None:
    assert send(f"{locked.admin_url}/admin/reload", {}, headers=by(field, ADMIN_KEY)).status == 200
    assert locked.chat("sim/echo", headers=by(field, KEY)).status == 200
    assert locked.metric("signalbox_requests_total", outcome="ok") >= 1


@pytest.mark.parametrize("host", ["", "127.0.0.1:{port}", "x/admin?"])
def test_no_host_and_no_spelling_leads_to_the_other_one(locked: Gateway, host: str) -> None:
    host = host.format(port=locked.admin_port)
    for path in ("/admin/reload", "//admin/reload", "/v1/../admin/reload", "/%61dmin/reload", "/metrics", "/metrics/"):
        for target in (path, f"{locked.admin_url}{path}"):
            head = f"POST {target} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {ADMIN_KEY}\r\n"
            answer = raw(locked.root_url, f"{head}connection: close\r\ncontent-length: 0\r\n\r\n".encode(), timeout_s=5)
            assert int(answer.split(b" ", 2)[1]) in (400, 404), (target, answer)


def test_the_ports_are_announced() -> None:
    with Gateway(MOCK, env={"SIGNALBOX_ADMIN_PORT": "0"}) as gateway:
        found = re.search(r"Look at (http://127\.0\.0\.1:(\d+))/readyz", gateway.output())
        assert found is not None, gateway.output()
        assert int(found[2]) != gateway.port
        assert send(f"{found[1]}/readyz").status == 200
        assert send(f"{found[1]}/metrics").status == 401


@pytest.mark.parametrize("taken", ["same", "other"])
def test_a_port_that_cannot_be_is_named(taken: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [sys.executable, "-P", str(PROGRAM), "serve", "--port", str(port) if taken == "same" else "0"]
        env = {"SIGNALBOX_ADMIN_PORT": str(port)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "SIGNALBOX_ADMIN_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_several_workers_share_both() -> None:
    with Gateway(MOCK, has_admin_port=True, workers=2) as gateway:
        for _ in range(6):
            assert gateway.chat("sim/echo").status == 200
        gateway.wait_metric("signalbox_requests_total", 6, outcome="ok")
        gateway.write(MOCK | {"models": {"new": {"deployments": [{"provider": "sim", "model": "echo"}]}}})
        assert gateway.reload().status == 200
        gateway.wait_metric("signalbox_reloads_total", 2, result="ok")
        for _ in range(8):  # whichever worker takes it
            assert gateway.chat("new").status == 200
            assert send(f"{gateway.root_url}/metrics").status == 404
        assert gateway.stop() == 0


def test_administration_is_heard_while_others_fill_the_port_of_the_traffic() -> None:
    config = MOCK | {"policies": {"overload": {"max_connections": 4}}}
    with Gateway(config, has_admin_port=True) as gateway, ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(ask(gateway.port, "sim/stall"))
        gateway.wait_metric("signalbox_in_flight", 4)
        assert gateway.admin("explain", {"prompt": "hi", "model": "sim/echo"}).status == 200
        gateway.signal(signal.SIGTERM)
        gateway.signal(signal.SIGTERM)


def test_the_admin_listener_shows_how_the_end_goes_on() -> None:
    with Gateway(MOCK, has_admin_port=True, env={"SIGNALBOX_DRAIN_S": "60"}) as gateway:
        held = ask(gateway.port, "sim/stall")
        idle = socket.create_connection(("127.0.0.1", gateway.admin_port))
        gateway.wait_metric("signalbox_in_flight", 1)
        gateway.signal(signal.SIGTERM)

        def is_closed() -> bool:
            try:
                socket.create_connection(("127.0.0.1", gateway.port), timeout=5).close()
            except ConnectionRefusedError:
                return True
            return False

        wait_until(is_closed)
        answer = send(f"{gateway.admin_url}/readyz")
        assert (answer.status, answer.json["in_flight"]) == (503, 1)
        assert answer.headers["connection"] == "close"
        assert gateway.metric("signalbox_in_flight") == 1
        gateway.signal(signal.SIGTERM)
        assert b"shutting_down" in read_all(held)
        assert gateway.stop() == 0
        assert read_all(idle) == b""
