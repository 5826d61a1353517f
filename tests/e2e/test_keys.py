"""Keys made while the gateway serves, with real clients: in every worker, after a crash, and without their store."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from click.testing import CliRunner

from gateway.cli.main import signalbox
from tests.e2e.setup import KEY, key_row
from tests.fakes.gateway import Gateway
from tests.fakes.http import Answer, send
from tests.fakes.redis import RedisServer

pytestmark = pytest.mark.e2e
OPEN = {"providers": {"sim": {"kind": "mock"}}, "models": {"m": {"deployments": [{"provider": "sim", "model": "m"}]}}}
CLOSED = OPEN | {"keys": [key_row("file", KEY)]}
_PATIENCE_S = 20.0


def make(gateway: Gateway, name: str, **settings: Any) -> str:
    answer = gateway.admin("keys", {"name": name} | settings)
    assert answer.status == 201, answer.body
    secret: str = answer.json["secret"]
    return secret


def listing(gateway: Gateway, secret: str | None = None) -> Answer:
    """The cheapest call that asks for a key, on a connection of its own."""
    return send(f"{gateway.base_url}/models", headers={"x-api-key": secret} if secret else {})


def client(gateway: Gateway, secret: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.base_url, api_key=secret, max_retries=0)


def until(is_so: Callable[[], bool], what: str) -> float:
    """Seconds until something was so."""
    start = time.monotonic()
    while not is_so():
        assert time.monotonic() < start + _PATIENCE_S, what
        time.sleep(0.02)
    return time.monotonic() - start


def test_the_official_client_with_a_key_made_a_moment_ago() -> None:
    """The gateway is open until there is a key. Without a state folder the key ends with the process, and says so."""
    with Gateway(OPEN, env={"SIGNALBOX_STATE_DIR": ""}) as gateway:
        hello = [{"role": "user", "content": "hello"}]
        anybody = client(gateway, "anything")
        assert anybody.chat.completions.create(model="m", messages=hello).choices  # type: ignore[arg-type]
        made = gateway.admin("keys", {"name": "ada"}).json
        assert "SIGNALBOX_STATE_DIR" in made["warning"]
        mine = client(gateway, made["secret"])
        assert mine.chat.completions.create(model="m", messages=hello).choices  # type: ignore[arg-type]
        with pytest.raises(openai.AuthenticationError) as refused:
            anybody.models.list()
        assert refused.value.code == "invalid_api_key"
        assert gateway.admin("keys/ada/disable", {}).status == 200
        with pytest.raises(openai.AuthenticationError) as refused:
            mine.models.list()
        assert refused.value.code == "key_disabled"
        assert [one["action"] for one in gateway.admin("audit").json["data"]] == ["disable_key", "create_key"]


def test_every_worker_knows_within_a_second() -> None:
    """The kernel chooses the worker of a connection: twelve in a row that agree were not all one worker's."""
    with Gateway(CLOSED, workers=2) as gateway:
        secret = make(gateway, "ada")

        def agree(status: int) -> bool:
            return all(listing(gateway, secret).status == status for _ in range(12))

        assert until(lambda: agree(200), "a worker does not know the key") < 3
        assert gateway.admin("keys/ada/disable", {}).status == 200
        assert until(lambda: agree(401), "a worker still takes the key") < 3
        assert gateway.admin("keys/ada/enable", {}).status == 200
        assert until(lambda: agree(200), "a worker still refuses the key") < 3


def test_a_key_survives_a_crash_right_after_it_was_made(tmp_path: Path) -> None:
    """And it is key enough to listen where others can come: without it the second start would be refused."""
    env = {"SIGNALBOX_STATE_DIR": str(tmp_path)}
    with Gateway(OPEN, env=env) as gateway:
        secret = make(gateway, "ada", default_model="m")
        os.kill(gateway.pid, signal.SIGKILL)
    with Gateway(OPEN, env=env | {"SIGNALBOX_HOST": "0.0.0.0"}) as gateway:
        assert listing(gateway).error["code"] == "missing_api_key"
        assert listing(gateway, secret).status == 200
        assert [one["name"] for one in gateway.admin("keys").json["data"]] == ["ada"]
        assert [one["action"] for one in gateway.admin("audit").json["data"]] == ["create_key"]
        assert gateway.reload().status == 200
        assert gateway.admin("keys/ada", method="DELETE").status == 204
        assert listing(gateway).status == 401  # there is no key any more, and still it is open to nobody


def command(redis: RedisServer, *arguments: str) -> str:
    """What `signalbox keys` prints beside a gateway with the same Redis."""
    env = {"SIGNALBOX_REDIS_URL": redis.url, "SIGNALBOX_STATE_DIR": ""}
    done = CliRunner().invoke(signalbox, ["keys", *arguments], env=env)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def test_keys_in_redis_before_it_is_there_while_it_is_and_when_it_is_gone() -> None:
    with RedisServer() as redis:
        redis.kill()
        with Gateway(CLOSED, env={"SIGNALBOX_REDIS_URL": redis.url}) as gateway:
            assert listing(gateway, KEY).status == 200
            assert listing(gateway, "sb-perhaps").error["code"] == "keys_unavailable"
            assert listing(gateway).status == 401

            redis.revive()
            until(lambda: listing(gateway, "sb-perhaps").status == 401, "Redis is not found")
            secret, stopped = command(redis, "new", "ada"), command(redis, "new", "bob")
            assert until(lambda: listing(gateway, stopped).status == 200, "the gateway does not know the key") < 3
            command(redis, "disable", "bob")
            assert until(lambda: listing(gateway, stopped).status == 401, "the gateway still takes the key") < 3
            assert gateway.metric("signalbox_key_store_up") == 1

            redis.kill()

            def state() -> Any:
                return send(f"{gateway.root_url}/readyz").json["keys"]["state"]

            until(lambda: state() == "stale", "nobody says that Redis is gone")
            until(lambda: gateway.metric("signalbox_key_store_up") == 0, "no metric says that Redis is gone")
            assert listing(gateway, secret).status == listing(gateway, KEY).status == 200
            assert listing(gateway, stopped).error["code"] == "key_disabled"
            assert listing(gateway, "sb-perhaps").status == 503
            assert gateway.admin("keys", {"name": "eve"}).error["code"] == "key_store_unavailable"

            redis.revive()
            until(lambda: state() == "current", "nobody says that Redis is back")
            assert listing(gateway, "sb-perhaps").error["code"] == "invalid_api_key"
            assert listing(gateway, secret).status == 200
