"""Before a budget is used up: the caller is warned, other requests are moved, and the operator is told once."""

import asyncio
import json
from math import inf

import pytest

from policies.stores.base import Unavailable
from policies.stores.memory import MemoryStore
from providers.base import Usage
from tests.fakes.virtual_time import run_virtual
from tests.gateway.money_scene import Scene, request_of, runtime_of

ROUTES = {
    "smart": {"strategy": "ordered", "pool": ["dear"]},
    "modest": {"strategy": "ordered", "pool": ["cheap"]},
}


def runtime(limit_usd=0.02, window="total", **on_soft):
    own = {"limit_usd": limit_usd, "window": window, "soft_ratio": 0.5}
    return runtime_of(budgets={"own": own | ({"on_soft": on_soft} if on_soft else {})}, routes=ROUTES)


async def spend(scene, tokens, model="cheap"):
    """A request that costs 10,000 nano-dollars a token; returns the lines of its head."""
    opened = await scene.open(request_of(model, max_tokens=tokens))
    opened.call(usage=Usage(output=tokens))
    opened.settle()
    return opened.lines


def test_a_warning_comes_with_the_request_that_reaches_the_soft_limit():
    async def scenario():
        scene = Scene(runtime())
        assert await spend(scene, 500) == b""
        lines = await spend(scene, 700)
        assert lines.startswith(b"x-signalbox-budget-warning: own;used=0."), lines
        assert lines.endswith(b"\r\n")

    run_virtual(scenario())


def test_requests_are_moved_until_the_window_ends():
    async def scenario():
        scene = Scene(runtime(window="minute", route="smart", to="modest"))
        caller = scene.caller()

        def asked_for():
            return scene.soft.moved(caller.scopes, "smart")

        assert asked_for() == "smart"
        await spend(scene, 1500)
        assert asked_for() == "modest"
        assert scene.soft.moved(caller.scopes, "cheap") == "cheap", "others stay where they are"
        await asyncio.sleep(61)
        assert asked_for() == "smart"
        assert scene.soft.reached == {}

    run_virtual(scenario())


def test_who_asks_is_told_the_limit_that_holds_with_what_was_raised():
    async def scenario():
        scene = Scene(runtime(limit_usd=1))
        asking = {b"x-signalbox-budget": b"1"}
        told = (await scene.open(request_of("cheap", max_tokens=100), headers=asking)).lines
        assert b";limit_usd=1\r\n" in told
        scene.store.raise_limit(scene.runtime.scopes.all(())[0].meter, 500_000_000)
        told = (await scene.open(request_of("cheap", max_tokens=100), headers=asking)).lines
        assert b"own;remaining_usd=1.49" in told
        assert b";limit_usd=1.5\r\n" in told

    run_virtual(scenario())


def test_a_budget_that_is_raised_is_no_longer_near_its_end():
    async def scenario():
        scene = Scene(runtime(route="smart", to="modest"))
        await spend(scene, 1500)
        scene.store.reset(scene.caller().scopes[0].meter)
        assert await spend(scene, 10) == b""
        assert scene.soft.moved(scene.caller().scopes, "smart") == "smart"

    run_virtual(scenario())


class Listener:
    """A real HTTP server on loopback that remembers what it is told."""

    def __init__(self, status=200):
        self.told = []
        self._status = status

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        self.told.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % self._status)
        await writer.drain()
        writer.close()


def test_the_operator_is_told_once_a_window():
    async def scenario():
        async with Listener() as listener:
            scene = Scene(runtime(webhook=listener.url))
            for _ in range(4):
                await spend(scene, 450)
            await asyncio.gather(*scene.started)
            [told] = listener.told
        assert told["event"] == "budget_soft_limit"
        assert (told["budget"], told["limit_usd"], told["soft_ratio"], told["window_ends"]) == ("own", 0.02, 0.5, None)
        assert 0.5 <= told["used_ratio"] <= 1
        assert any(b"beyond its soft limit" in line for line in scene.log.lines)

    asyncio.run(scenario())


def test_the_operator_is_told_once_however_many_processes_see_it():
    async def scenario():
        async with Listener() as listener:
            settings = runtime(window="day", webhook=listener.url)
            one = Scene(settings)
            scenes = [one, Scene(settings, one.store), Scene(settings, one.store)]
            for scene in scenes:
                await spend(scene, 600)
                await asyncio.gather(*scene.started)
            assert len(listener.told) == 1
            assert one.store.open_holds() == []

    asyncio.run(scenario())


@pytest.mark.parametrize(("away_s", "is_told"), [(3.0, False), (60.0, True)])
def test_a_store_that_is_away_is_asked_again_before_the_operator_is_told_twice(away_s, is_told):
    """Another process has told already, and only the store knows that; one that stays away keeps nobody from it."""

    class Away(MemoryStore):
        until = inf

        def hold(self, hold_id, lines, lease_s, *, is_dispatched=False):
            if hold_id.startswith("webhook") and asyncio.get_running_loop().time() < self.until:
                return Unavailable("it is away")
            return super().hold(hold_id, lines, lease_s, is_dispatched=is_dispatched)

    async def scenario():
        loop = asyncio.get_running_loop()
        posted = []

        async def post(url, message):
            posted.append(message["budget"])

        store, settings = Away(loop.time), runtime(window="day", webhook="http://127.0.0.1:9/hook")
        for store.until, tokens in ((0.0, 1100), (loop.time() + away_s, 500)):
            scene = Scene(settings, store)
            scene.soft._post = post
            await spend(scene, tokens)
            await asyncio.gather(*scene.started)
        assert posted == ["own"] * (1 + is_told)
        assert store.open_holds() == []

    run_virtual(scenario())


def test_a_webhook_that_fails_stands_in_the_log_and_harms_nobody():
    async def scenario():
        async with Listener(500) as listener:
            scene = Scene(runtime(webhook=listener.url))
            await spend(scene, 1500)
            await asyncio.gather(*scene.started)
            assert any(b"webhook refused" in line for line in scene.log.lines)
        scene = Scene(runtime(webhook=listener.url))
        await spend(scene, 1500)
        await asyncio.gather(*scene.started)
        assert any(b"webhook failed" in line for line in scene.log.lines)
        assert scene.balance("own").spent == 1500 * 10_000

    asyncio.run(scenario())
