"""/admin/keys over a real gateway: what is made, changed and shown, and what is refused with which words."""

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.setup import KEY, key_row
from tests.fakes.gateway import ADMIN_KEY, Gateway
from tests.fakes.http import Answer, send

pytestmark = pytest.mark.e2e
VIEWER, OPERATOR = "viewer-secret", "operator-secret"
CONFIG = {
    "providers": {"sim": {"kind": "mock"}},
    "models": {name: {"deployments": [{"provider": "sim", "model": name}]} for name in ("small", "large")},
    "routes": {"auto": {"pool": ["small", "large"]}, "gold": {"pool": ["large"]}},
    "rules": [{"name": "vip", "when": {"route": "auto", "tags": ["vip"]}, "use": "gold"}],
    "teams": {"shop": {"models": ["small", "auto"], "tags": ["vip"]}},
    "keys": [key_row("file", KEY)],
    "admin_keys": [key_row("vera", VIEWER), key_row("oskar", OPERATOR, role="operator")],
}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway(CONFIG) as running:
        yield running


@pytest.fixture
def name() -> str:
    """Of a key that no other test has."""
    return f"key-{next(_numbers)}"


def ask(gateway: Gateway, method: str, path: str, body: Any = None, *, key: str = ADMIN_KEY, **headers: str) -> Answer:
    fields = {"authorization": f"Bearer {key}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return send(f"{gateway.root_url}/admin/{path}", body, method=method, headers=fields)


def make(gateway: Gateway, name: str, **settings: Any) -> dict[str, Any]:
    answer = ask(gateway, "POST", "keys", {"name": name} | settings)
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json
    return found


def call(gateway: Gateway, secret: str, model: str = "small", **more: Any) -> Answer:
    return gateway.chat(model, headers={"authorization": f"Bearer {secret}"}, **more)


def wait_lines(gateway: Gateway, target: str, count: int) -> list[dict[str, Any]]:
    """The log lines about this key; they are written a little after the answer."""
    deadline = time.monotonic() + 20
    while True:
        found = [line for line in gateway.logs() if line["event"] == "admin action" and line["target"] == target]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def test_a_key_is_valid_as_soon_as_it_was_answered(gateway: Gateway, name: str) -> None:
    made = make(gateway, name, models=["small"], metadata={"owner": "ada"})
    assert call(gateway, made["secret"]).status == 200
    assert call(gateway, made["secret"], "large").error["code"] == "model_not_allowed"
    assert made["secret"].startswith(made["prefix"])
    shown = ask(gateway, "GET", f"keys/{name}")
    assert shown.json == {key: value for key, value in made.items() if key != "secret"}
    assert (shown.json["state"], shown.json["source"]) == ("active", "created")


def test_it_is_disabled_enabled_and_deleted(gateway: Gateway, name: str) -> None:
    secret = make(gateway, name)["secret"]
    assert ask(gateway, "POST", f"keys/{name}/disable").json["state"] == "disabled"
    refused = call(gateway, secret)
    assert (refused.status, refused.error["code"]) == (401, "key_disabled")
    assert name in refused.error["message"]
    assert ask(gateway, "POST", f"keys/{name}/enable").status == 200
    assert call(gateway, secret).status == 200
    assert ask(gateway, "DELETE", f"keys/{name}").status == 204
    assert call(gateway, secret).error["code"] == "invalid_api_key"
    assert ask(gateway, "GET", f"keys/{name}").error["code"] == "key_not_found"
    assert ask(gateway, "DELETE", f"keys/{name}").status == 404


def test_rotation_with_and_without_overlap(gateway: Gateway, name: str) -> None:
    first = make(gateway, name)["secret"]
    second = ask(gateway, "POST", f"keys/{name}/rotate", {"overlap_s": 3600}).json
    assert call(gateway, first).status == call(gateway, second["secret"]).status == 200
    assert second["previous_until"] is not None
    third = ask(gateway, "POST", f"keys/{name}/rotate").json["secret"]
    assert call(gateway, third).status == 200
    assert call(gateway, second["secret"]).status == 401
    assert call(gateway, first).status == 200  # for the hour that it was promised


def test_an_expired_key_says_so(gateway: Gateway, name: str) -> None:
    made = make(gateway, name, expires="2020-01-31")
    assert made["state"] == "expired"
    assert call(gateway, made["secret"]).error["code"] == "key_expired"
    assert ask(gateway, "PATCH", f"keys/{name}", {"expires": None}).json["state"] == "active"
    assert call(gateway, made["secret"]).status == 200


def test_a_team_gives_models_and_tags_that_rules_see(gateway: Gateway, name: str) -> None:
    secret = make(gateway, name, team="shop", models=["auto", "large"])["secret"]
    assert call(gateway, secret, "large").status == 403
    assert call(gateway, secret, "small").status == 403
    assert call(gateway, secret, "auto").headers["x-signalbox-model"] == "sim/large"
    assert call(gateway, KEY, "auto").headers["x-signalbox-model"] == "sim/small"


def test_the_default_model_is_for_requests_that_name_none(gateway: Gateway, name: str) -> None:
    secret = make(gateway, name, default_model="large")["secret"]
    headers = {"authorization": f"Bearer {secret}"}
    body = {"messages": [{"role": "user", "content": "hello"}]}
    for more in ({}, {"model": "default"}, {"model": ""}):
        answer = send(f"{gateway.base_url}/chat/completions", body | more, headers=headers)
        assert (answer.status, answer.headers["x-signalbox-model"]) == (200, "sim/large"), answer.body
    assert call(gateway, secret, "small").headers["x-signalbox-model"] == "sim/small"
    other = {"authorization": f"Bearer {KEY}"}
    assert send(f"{gateway.base_url}/chat/completions", body, headers=other).status == 400


def test_a_change_of_another_state_is_refused(gateway: Gateway, name: str) -> None:
    make(gateway, name)
    etag = ask(gateway, "GET", f"keys/{name}").headers["etag"]
    changed = ask(gateway, "PATCH", f"keys/{name}", {"models": ["small"]}, if_match=etag)
    assert (changed.status, changed.json["models"]) == (200, ["small"])
    assert changed.headers["etag"] != etag
    for method, path, body in (("PATCH", "", {"models": None}), ("POST", "/rotate", {}), ("DELETE", "", None)):
        refused = ask(gateway, method, f"keys/{name}{path}", body, if_match=etag)
        assert (refused.status, refused.error["code"]) == (412, "precondition_failed")
    assert ask(gateway, "DELETE", f"keys/{name}", if_match=changed.headers["etag"]).status == 204


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": "with blank"}, "name"),
        ({"name": "x", "team": "nobody"}, "team"),
        ({"name": "x", "budget": "nothing"}, "budget"),
        ({"name": "x", "limits": "nothing"}, "limits"),
        ({"name": "x", "models": ["smal"]}, "models"),
        ({"name": "x", "default_model": "nothing"}, "default_model"),
        ({"name": "x", "colour": "red"}, "colour"),
        ({"name": "x", "expires": "tomorrow"}, "expires"),
        ({"name": "x", "sha256": "short"}, "sha256"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(gateway: Gateway, body: dict[str, Any], param: str) -> None:
    answer = ask(gateway, "POST", "keys", body)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert param in answer.error["message"]
    assert ask(gateway, "GET", "keys/x").status == 404


def test_names_and_secrets_are_taken_once(gateway: Gateway, name: str) -> None:
    make(gateway, name, sha256=key_row("", f"own-{name}")["sha256"])
    assert call(gateway, f"own-{name}").status == 200
    digests = [key_row("", secret)["sha256"] for secret in (KEY, VIEWER, ADMIN_KEY, f"own-{name}")]
    for body in ({"name": name}, {"name": "file"}, *({"name": "other", "sha256": digest} for digest in digests)):
        assert ask(gateway, "POST", "keys", body).error["code"] == "key_exists"


def test_name_and_secret_of_a_key_stay(gateway: Gateway, name: str) -> None:
    make(gateway, name)
    for body in ({"name": "other"}, {"sha256": "0" * 64}):
        assert ask(gateway, "PATCH", f"keys/{name}", body).status == 400


def test_keys_of_the_file_are_shown_and_changed_there(gateway: Gateway) -> None:
    assert ask(gateway, "GET", "keys/file").json["source"] == "config"
    for method, path in (("PATCH", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/disable")):
        answer = ask(gateway, method, f"keys/file{path}", {} if method != "DELETE" else None)
        assert (answer.status, answer.error["code"]) == (409, "key_in_configuration")


def test_pages_have_every_key_once(gateway: Gateway, name: str) -> None:
    expected = sorted(f"{name}-page-{n}" for n in range(5))
    for each in expected:
        make(gateway, each, team="shop")
    seen: list[str] = []
    after = ""
    while True:
        page = ask(gateway, "GET", f"keys?limit=2&team=shop{after}").json
        seen += [one["name"] for one in page["data"]]
        assert len(page["data"]) <= 2
        if not page["has_more"]:
            break
        after = f"&after={page['next']}"
    assert sorted(set(seen)) == seen
    assert [each for each in seen if each.startswith(f"{name}-page-")] == expected
    by_file = ask(gateway, "GET", "keys?source=config").json["data"]
    assert [one["name"] for one in by_file] == ["file"]
    for wrong in ("limit=0", "limit=x", "state=asleep"):
        answer = ask(gateway, "GET", f"keys?{wrong}")
        assert (answer.status, answer.error["param"]) == (400, wrong.partition("=")[0])


@pytest.mark.parametrize(
    ("key", "may"), [(VIEWER, {"viewer"}), (OPERATOR, {"viewer", "operator"}), (KEY, set()), ("no-key", set())]
)
def test_every_path_asks_for_its_role(gateway: Gateway, key: str, may: set[str]) -> None:
    """The roles are those of the document, and every path of the document says one."""
    paths = send(f"{gateway.root_url}/openapi.json").json["paths"]
    routes = [(path, verb, of) for path, by in paths.items() if path.startswith("/admin/") for verb, of in by.items()]
    assert {of["x-required-role"] for _, _, of in routes} == {"viewer", "operator", "admin"}
    for path, verb, of in routes:
        if of["x-required-role"] in may:
            continue
        target = path.removeprefix("/admin/").replace("{name}", "file")
        answer = ask(gateway, verb.upper(), target, {} if verb != "get" else None, key=key)
        assert answer.status == (403 if may else 401), (path, verb, answer.body)
        assert answer.error["code"] == ("role_not_sufficient" if may else "admin_access_denied")


def test_a_viewer_looks_and_an_operator_stops_a_key(gateway: Gateway, name: str) -> None:
    make(gateway, name)
    assert ask(gateway, "GET", f"keys/{name}", key=VIEWER).status == 200
    assert ask(gateway, "POST", f"keys/{name}/disable", key=OPERATOR).status == 200
    assert ask(gateway, "POST", f"keys/{name}/enable", key=OPERATOR).status == 403
    assert ask(gateway, "POST", "reload", {}, key=OPERATOR).status == 200
    assert call(gateway, OPERATOR).status == call(gateway, VIEWER).status == 401


def test_the_audit_log_has_who_did_what_and_no_secret(gateway: Gateway, name: str) -> None:
    first = make(gateway, name)["secret"]
    ask(gateway, "POST", f"keys/{name}/disable", key=OPERATOR)
    second = ask(gateway, "POST", f"keys/{name}/rotate").json["secret"]
    ask(gateway, "DELETE", f"keys/{name}", key=VIEWER)
    ask(gateway, "PATCH", f"keys/{name}", {"team": "nobody"})
    page = ask(gateway, "GET", "audit?limit=1000").json
    mine = [one for one in reversed(page["data"]) if one["target"] == name]
    assert [(one["admin"], one["action"], one["outcome"]) for one in mine] == [
        ("admin", "create_key", "done"),
        ("oskar", "disable_key", "done"),
        ("admin", "rotate_key", "done"),
        ("vera", "delete_key", "refused"),
        ("admin", "change_key", "refused"),
    ]
    disabled = next(one for one in mine if one["action"] == "disable_key")
    assert (disabled["before"]["state"], disabled["after"]["state"]) == ("active", "disabled")
    assert (disabled["role"], disabled["from"]) == ("operator", "127.0.0.1")
    written = (gateway.folder / "state" / "audit.jsonl").read_text() + json.dumps(page) + gateway.output()
    for secret in (first, second, ADMIN_KEY, OPERATOR):
        assert secret not in written
    lines = wait_lines(gateway, name, len(mine))
    assert [(line["admin"], line["action"]) for line in lines] == [(one["admin"], one["action"]) for one in mine]


def test_a_body_that_is_no_object_is_refused_after_the_guard(gateway: Gateway) -> None:
    for body in (b"[]", b"{", b"null", b'"x"'):
        assert ask(gateway, "POST", "keys", body).status == 400
        assert ask(gateway, "POST", "keys", body, key="no-key").status == 401
    assert ask(gateway, "POST", "keys", b"x" * 300_000).status == 413
