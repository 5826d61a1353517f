"""Open to everybody only where somebody has said so."""

import re

import pytest

from tests.e2e.setup import KEY, key_row
from tests.fakes.gateway import Gateway
from tests.fakes.http import send

pytestmark = pytest.mark.e2e
MOCK = {"providers": {"sim": {"kind": "mock"}}}
EVERYWHERE = {"SIGNALBOX_HOST": "0.0.0.0"}


def test_without_keys_it_listens_on_loopback_only() -> None:
    with pytest.raises(AssertionError, match=re.compile("key", re.IGNORECASE)), Gateway(MOCK, env=EVERYWHERE):
        pass


@pytest.mark.parametrize("how", ["a key", "on purpose"])
def test_with_a_key_or_on_purpose_it_listens_everywhere(how: str) -> None:
    config = MOCK | ({"keys": [key_row("tester", KEY)]} if how == "a key" else {})
    env = EVERYWHERE | ({} if how == "a key" else {"SIGNALBOX_ALLOW_ANONYMOUS": "true"})
    with Gateway(config, env=env) as gateway:
        assert gateway.chat("sim/echo").status == (401 if how == "a key" else 200)


def test_a_reload_that_takes_the_last_key_away_does_not_open_the_gateway() -> None:
    with Gateway(MOCK | {"keys": [key_row("tester", KEY)]}, env=EVERYWHERE) as gateway:
        gateway.write(MOCK)
        answer = gateway.reload()
        assert answer.status == 409, answer.body
        assert gateway.chat("sim/echo").status == 401


def test_administration_is_off_until_a_key_is_set() -> None:
    with Gateway(MOCK, env={"SIGNALBOX_ADMIN_KEY": ""}) as gateway:
        for secret in ("", "None", "null", " "):
            headers = {"authorization": f"Bearer {secret}"}
            assert send(f"{gateway.root_url}/admin/reload", {}, headers=headers).status == 403
            assert send(f"{gateway.root_url}/admin/explain", {}, headers=headers).status == 403
