"""Gateways with several workers that share answers in Redis: one call for all of them, and one purge."""

import asyncio
import json
import time

import pytest
from click.testing import CliRunner

from gateway.cli.main import signalbox
from policies.stores.sqlite_shared import SharedSqliteStore
from tests.e2e.setup import KEY, standard_config
from tests.fakes.gateway import Gateway
from tests.fakes.redis import RedisServer

pytestmark = pytest.mark.e2e
_IN_A_ROW = 12  # each on a connection of its own: with four workers hardly one of them is left out


def _config(upstream):
    config = standard_config(upstream)
    config["models"]["chat-openai"]["price"] = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    config["policies"]["cache"] = {"exact": {"enabled": True}, "redis": {"enabled": True, "wait_s": 0.05}}
    return config


def _ask(gateway, text, **headers):
    return gateway.chat("chat-openai", text, headers={"authorization": f"Bearer {KEY}"} | headers)


class Kept:
    """Asks for kept answers only, and counts the hits."""

    def __init__(self, gateway):
        self.gateway, self.hits = gateway, 0

    def has(self, text):
        status = _ask(self.gateway, text, **{"cache-control": "only-if-cached"}).status
        assert status in (200, 504)
        self.hits += status == 200
        return status == 200

    def wait(self, text, *, is_there):
        """Until every worker says so."""
        deadline = time.monotonic() + 30
        while any(self.has(text) is not is_there for _ in range(_IN_A_ROW)):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_four_workers_and_another_gateway(upstream, tmp_path):
    config = _config(upstream)
    with RedisServer() as redis:
        env = {"SIGNALBOX_REDIS_URL": redis.url, "SIGNALBOX_STATE_DIR": str(tmp_path)}
        with (
            Gateway(config, env=env, workers=4) as many,
            Gateway(config, env={"SIGNALBOX_REDIS_URL": redis.url}) as one,
        ):
            first = _ask(many, "shared by all")
            assert first.headers["x-signalbox-cache"] == "miss"
            theirs, ours = Kept(many), Kept(one)
            theirs.wait("shared by all", is_there=True)
            ours.wait("shared by all", is_there=True)
            hit = _ask(one, "shared by all")
            assert (hit.headers["x-signalbox-cache"], len(upstream.requests())) == ("hit", 1)
            assert hit.json | {"usage": None} == first.json | {"usage": None}
            stats = one.admin("cache").json["redis"]
            assert (stats["is_up"], stats["lookups"]["hit"]) == (True, 1)
            assert one.metric("signalbox_cache_redis_lookups_total", result="hit") == 1
            purged = one.admin("cache/purge", {"model": "chat-openai"}).json
            assert (purged["purged"], purged["replicas_told"]) == (1, True)
            ours.wait("shared by all", is_there=False)
            theirs.wait("shared by all", is_there=False)
            hits = theirs.hits
    # What a worker had no time to write is in its journal, for whoever starts next.
    asyncio.run(SharedSqliteStore(tmp_path).close())
    shown = CliRunner().invoke(
        signalbox, ["spend", "--by", "key,model", "--format", "json", "--state-dir", str(tmp_path)]
    )
    assert shown.exit_code == 0, shown.output
    (row,) = json.loads(shown.stdout)
    cost = float(first.headers["x-signalbox-cost-usd"])
    assert (row["key"], row["model"], row["calls"], row["kept_calls"]) == ("tester", "chat-openai", 1, hits)
    assert float(row["cost_usd"]) == cost > 0
    assert float(row["saved_usd"]) == pytest.approx(hits * cost)
