"""Gateways that share a Redis and nothing else: everything that one writes there carries its namespace."""

import stat
import time

import pytest

from tests.e2e.setup import key_row
from tests.fakes.gateway import Gateway
from tests.fakes.redis import RedisServer

pytestmark = pytest.mark.e2e
CONFIG = {
    "providers": {"sim": {"kind": "mock", "pace": False}},
    "models": {
        "small": {
            "deployments": [{"provider": "sim", "model": "small"}],
            "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1},
        }
    },
    "budgets": {"day": {"limit_usd": 10}},
    "keys": [key_row("ada", "ada-secret", budget="day")],
}


def test_budgets_keys_and_hints_are_of_the_namespace(tmp_path):
    state = tmp_path / "state"
    with RedisServer() as redis:
        env = {
            "SIGNALBOX_REDIS_URL": redis.url,
            "SIGNALBOX_REDIS_NAMESPACE": "staging",
            "SIGNALBOX_STATE_DIR": str(state),
        }
        with Gateway(CONFIG, env=env) as gateway:
            assert gateway.admin("keys", {"name": "bob"}).status == 201
            assert gateway.chat("small", max_tokens=20, headers={"authorization": "Bearer ada-secret"}).status == 200
            deadline = time.monotonic() + 20
            while not (channels := redis.ask("PUBSUB", "CHANNELS")):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert channels == [b"{signalbox:staging}:trips"]
            keys = redis.ask("KEYS", "*")
            assert {b"{signalbox:staging}:keys", b"{signalbox:staging}:m:budget/day/month"} <= set(keys)
            assert [key for key in keys if not key.startswith(b"{signalbox:staging}")] == []
    assert stat.S_IMODE(state.stat().st_mode) == 0o700, "names in it tell who calls"
