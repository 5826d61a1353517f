"""Rows 31 to 33: a gateway that is killed, many requests on one budget, and answers that are cut by either side."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from policies.stores.entries import Ledger
from tests.fakes.gateway import Gateway
from tests.fakes.redis import RedisServer
from tests.fakes.upstream import FakeUpstream
from tests.money.crowd import KINDS, Client, Result
from tests.money.provider import Provider
from tests.money.setup import balance, check_bill, money_config, secret, wait_entries, wait_no_holds

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
CLIENTS = 24
LEASE_S = 120
_UNDER_LOAD = 100  # answers before the end
_PATIENCE_S = 20.0
_STILL_S = 0.3  # longer than a request waits for a store


def config(upstream: FakeUpstream, limit_nusd: int) -> dict[str, Any]:
    return money_config(
        upstream, {"all": {"limit_usd": limit_nusd / 1e9, "window": "total"}}, {"payer": {"budget": "all"}}
    )


def wait_agreement(gateway: Gateway, folder: Path) -> tuple[list[dict[str, Any]], dict[str, int], list[dict[str, Any]]]:
    """The ledger's lines, the balance and the holds, when all workers have started and what the killed ones left is in
    the store: what was completed is settled, what was refused is free again.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        now, rows = balance(gateway, "all"), list(Ledger(folder).stream(0, 4e9))
        holds = gateway.admin("holds").json["data"]
        found = sum(row["cost_nusd"] for row in rows)
        held = sum(hold["amounts"]["budget/all/total"] for hold in holds)
        if (found, held) == (now["spent"], now["held"]) and len(holds) <= CLIENTS:
            return rows, now, holds
        said = f"the ledger says {found}, the store {now}; {len(holds)} holds have {held}"
        assert time.monotonic() < deadline, said
        time.sleep(0.05)


def wait_no_holds_but(gateway: Gateway, count: int) -> None:
    """Settlements are written beside the answers."""
    deadline = time.monotonic() + _PATIENCE_S
    while len(gateway.admin("holds").json["data"]) > count:
        assert time.monotonic() < deadline, "a request that is over is not settled"
        time.sleep(0.02)


async def until_killed(gateway: Gateway, client: Client, store: RedisServer | None) -> list[Result]:
    """Requests without a pause, until every process of the gateway is killed in the middle. Only answers that came
    whole are returned. A store of its own stands still once before, so that some of them are asked for twice.
    """
    answered: list[Result] = []
    pids = [gateway.pid, *gateway.children()]

    async def work(number: int) -> None:
        while True:
            try:
                result = await client.ask("plain" if number % 2 else "streamed")
            except ConnectionError:
                return
            is_whole = b"data: [DONE]" in result.body if result.kind == "streamed" else result.body.endswith(b"}")
            if not result.body or not is_whole:
                return
            assert result.status == 200, result
            answered.append(result)
            if store is not None and len(answered) == _UNDER_LOAD // 2:
                store.freeze()
                asyncio.get_running_loop().call_later(_STILL_S, store.thaw)
            if len(answered) == _UNDER_LOAD:
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)

    await asyncio.gather(*(work(number) for number in range(CLIENTS)))
    return answered


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[RedisServer | None]:
    """A Redis, where the gateway shall have one."""
    if request.param == "sqlite":
        yield None
    else:
        with RedisServer() as redis:
            yield redis


@only(("store", "workers"), [("sqlite", 1), ("sqlite", 2), ("redis", 2)], indirect=["store"])
def test_row_31_sigkill_under_load(
    upstream: FakeUpstream, tmp_path: Path, store: RedisServer | None, workers: int
) -> None:
    provider, limit = Provider(upstream), 1_000_000_000
    settings, env = config(upstream, limit), {"SIGNALBOX_STATE_DIR": str(tmp_path)}
    if store is not None:
        env["SIGNALBOX_REDIS_URL"] = store.url
    with Gateway(settings, env=env, workers=workers) as gateway:
        client = Client(gateway.port, secret("payer"), provider)
        answered = asyncio.run(until_killed(gateway, client, store))
        assert store is None or any(len(result.words) > 1 for result in answered)
    with Gateway(settings, env=env, workers=workers) as gateway:
        rows, now, holds = wait_agreement(gateway, tmp_path)
        # All that was completed is there, once; a stream whose end was on its way may still be held.
        billed = {charge.word: charge.nusd for charge in provider.charges()}
        written = Counter(row["request_id"] for row in rows)
        assert set(written.values()) == {1}
        assert all(row["cost_nusd"] == billed[row["request_id"]] for row in rows)
        missing = [result for result in answered if not written[result.words[-1]]]
        assert [result for result in missing if result.kind == "plain"] == []
        assert [word for result in answered for word in result.words[:-1] if written[word]] == []  # those were refused
        # What was under way is held, each within its lease, and so nothing of the bill is forgotten.
        assert len(missing) <= len(holds)
        latest = datetime.now(UTC) + timedelta(seconds=LEASE_S)
        assert all(datetime.fromisoformat(hold["lease_until"]) <= latest for hold in holds)
        assert now["spent"] + now["held"] >= sum(billed.values())
        # And it goes on: nothing of before is counted again.
        client = Client(gateway.port, secret("payer"), provider)
        after = [asyncio.run(client.ask("plain")) for _ in range(2)]
        assert [result.status for result in after] == [200, 200]
        more = sum(charge.nusd for charge in provider.charges([result.words[0] for result in after]))
        wait_no_holds_but(gateway, len(holds))
        assert balance(gateway, "all")["spent"] == now["spent"] + more
        gateway.wait_metric("signalbox_budget_spent_usd", now["spent"] / 1e9, budget="all")


def test_row_32_50_at_once_on_one_budget(upstream: FakeUpstream) -> None:
    provider, limit = Provider(upstream), 3_000_000
    with Gateway(config(upstream, limit)) as gateway:
        client = Client(gateway.port, secret("payer"), provider)

        async def until_refused() -> list[Result]:
            """Fifty at a time, until none of them is served."""
            results: list[Result] = []
            while True:
                wave = await asyncio.gather(*(client.ask("plain" if n % 2 else "streamed") for n in range(50)))
                results += wave
                if all(result.status == 429 for result in wave):
                    return results

        results = asyncio.run(until_refused())
        assert {(result.status, result.code) for result in results} == {(200, None), (429, "insufficient_quota")}
        wait_no_holds(gateway)
        spent = balance(gateway, "all")["spent"]
        assert 0.6 * limit <= spent <= limit
        assert sum(charge.nusd for charge in provider.charges()) == spent
        refused = sum(result.status == 429 for result in results)
        gateway.wait_metric("signalbox_refusals_total", refused, reason="budget_exhausted")
        assert gateway.metric("signalbox_refusals_total", reason="budget_exhausted") == refused


def test_row_33_departures_and_failures(upstream: FakeUpstream) -> None:
    provider = Provider(upstream)
    with Gateway(config(upstream, 1_000_000_000)) as gateway:
        client = Client(gateway.port, secret("payer"), provider)
        results = asyncio.run(client.ask_all([*KINDS] * 8))
        wait_no_holds(gateway)
        spent = balance(gateway, "all")["spent"]
        bill, cut, cut_ledger = check_bill(wait_entries(gateway.folder / "state", "payer", spent), provider.charges())
        assert cut
        assert spent - cut_ledger == bill - cut
        gone = sum(result.kind in ("silent", "cut-here") for result in results)
        gateway.wait_metric("signalbox_client_gone_total", gone)
        assert gateway.metric("signalbox_midstream_errors_total", cause="reset") > 0
        text = "".join(json.dumps(line) for line in gateway.logs())
        assert "internal error" not in text
