"""Deny by default, asked of a running gateway: without a key nothing answers that declares it needs one."""

from hashlib import sha256

import pytest
from fastapi import FastAPI

from gateway.admin.access import check_guards
from gateway.api.endpoint import endpoints
from tests.fakes.gateway import Gateway, GatewayPool
from tests.fakes.http import send

pytestmark = pytest.mark.e2e

_KEY = "sk-of-a-caller"
_CONFIG = {
    "providers": {"sim": {"kind": "mock"}},
    "keys": [{"name": "caller", "sha256": sha256(_KEY.encode()).hexdigest()}],
}
_ROUTES = [
    (endpoint.guard, method, path.replace("/*", "/some/name"))
    for endpoint in endpoints()
    for path in endpoint.paths
    for method in endpoint.methods
]


@pytest.fixture
def closed(gateways: GatewayPool) -> Gateway:
    return gateways.get(_CONFIG)


@pytest.mark.parametrize(("guard", "method", "path"), [route for route in _ROUTES if route[0] != "open"])
@pytest.mark.parametrize("secret", [None, "sk-guessed"])
def test_a_guarded_path_needs_its_key(closed: Gateway, guard: str, method: str, path: str, secret: str | None) -> None:
    headers = {"authorization": f"Bearer {secret}"} if secret else {}
    answer = send(closed.root_url + path, {} if method == "POST" else None, method=method, headers=headers)
    assert answer.status == 401
    if method != "HEAD":
        assert answer.error["type"] == "invalid_request_error"


def test_a_callers_key_opens_no_admin_path(closed: Gateway) -> None:
    document = send(f"{closed.root_url}/openapi.json").json
    admin = [(path, method) for path, of in document["paths"].items() if path.startswith("/admin") for method in of]
    assert admin
    for path, method in admin:
        for secret in (None, _KEY):
            headers = {"authorization": f"Bearer {secret}"} if secret else {}
            body = {} if method in ("post", "put", "patch") else None
            answer = send(closed.root_url + path, body, method=method.upper(), headers=headers)
            assert answer.status == 401, (path, method, secret)


def test_every_admin_path_declares_the_role_it_needs(closed: Gateway) -> None:
    document = send(f"{closed.root_url}/openapi.json").json
    admin = {
        (path, method): of.get("x-required-role")
        for path, methods in document["paths"].items()
        if path.startswith("/admin")
        for method, of in methods.items()
    }
    assert {where: role for where, role in admin.items() if role not in ("viewer", "operator", "admin")} == {}
    # Looking changes nothing, and what changes something is more than looking.
    assert [where for where, role in admin.items() if role == "viewer" and where[1] != "get"] == []


def test_a_path_without_a_role_keeps_the_admin_api_from_starting() -> None:
    app = FastAPI()

    @app.get("/admin/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(RuntimeError, match="/admin/forgotten has 0 guards"):
        check_guards(app)


def test_every_control_plane_path_is_guarded_or_harmless(closed: Gateway) -> None:
    """What FastAPI serves: administration, which needs the admin key, and its own documentation."""
    document = send(f"{closed.root_url}/openapi.json").json
    ours = {path for _, _, path in _ROUTES}
    others = {path for path in document["paths"] if path.replace("{id}", "some/name") not in ours}
    assert all(path.startswith("/admin/") for path in others), others
