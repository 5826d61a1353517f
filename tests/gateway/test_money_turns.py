"""Waiting for a limit: in the order of arrival, no longer than the limit or the request allows, nobody forgotten."""

import asyncio
from math import inf
from random import Random

import pytest

from gateway.money.turns import Turns
from gateway.wire.refusals import RefusedError
from policies.scopes import Scope
from policies.stores.base import Denied, Meter, Unit
from policies.windows import NoWindow
from providers.base import Usage
from tests.fakes.virtual_time import run_virtual
from tests.gateway.money_scene import Scene, key, request_of, runtime_of


def waiting(wait_s, **limit):
    return runtime_of(keys=[key("k", limits="few")], limits={"few": {"wait_s": wait_s, **limit}})


class Crowd:
    """Requests that each take a place for a while; `served` has their numbers in the order in which they got one."""

    def __init__(self, scene):
        self.scene = scene
        self.served = []
        self.refused = []
        self.most = self.running = 0

    async def ask(self, number, arrives_s, takes_s, until_s=1e9):
        loop = self.scene.loop
        await asyncio.sleep(arrives_s)
        try:
            opened = await self.scene.open(request_of("cheap"), until=loop.time() + until_s)
        except RefusedError as error:
            assert error.refusal.status == 429
            self.refused.append((number, loop.time()))
            return
        self.served.append(number)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(takes_s)
        finally:
            self.running -= 1
            opened.call(usage=Usage(input=10))
            opened.settle()

    def nothing_is_left(self):
        assert self.scene.store.open_holds() == []
        assert not self.scene.till.turns.queues
        assert not self.scene.till.open_tabs


def test_places_are_given_in_the_order_of_arrival():
    async def scenario():
        crowd = Crowd(Scene(waiting(60, concurrency=2)))
        await asyncio.gather(*(crowd.ask(number, 0.01 * number, 1.0) for number in range(20)))
        assert crowd.served == list(range(20))
        assert crowd.most == 2
        crowd.nothing_is_left()

    run_virtual(scenario())


def test_a_place_that_comes_free_is_taken_at_once():
    async def scenario():
        scene = Scene(waiting(60, concurrency=1))
        crowd = Crowd(scene)
        began = scene.loop.time()
        await asyncio.gather(*(crowd.ask(number, 0.0, 1.234) for number in range(5)))
        assert scene.loop.time() - began == pytest.approx(5 * 1.234, abs=0.01)

    run_virtual(scenario())


def test_nobody_waits_longer_than_the_limit_says():
    async def scenario():
        scene = Scene(waiting(2, concurrency=1))
        crowd = Crowd(scene)
        began = scene.loop.time()
        await asyncio.gather(crowd.ask(0, 0, 10), crowd.ask(1, 0.5, 1), crowd.ask(2, 1, 1))
        assert crowd.served == [0]
        assert [(number, round(at - began, 1)) for number, at in crowd.refused] == [(1, 2.5), (2, 3.0)]
        crowd.nothing_is_left()

    run_virtual(scenario())


def test_nobody_waits_longer_than_the_request_may_take():
    async def scenario():
        scene = Scene(waiting(60, concurrency=1))
        crowd = Crowd(scene)
        began = scene.loop.time()
        await asyncio.gather(crowd.ask(0, 0, 10), crowd.ask(1, 0.5, 1, until_s=1.5), crowd.ask(2, 0.6, 1))
        assert crowd.served == [0, 2]
        assert [(number, round(at - began, 1)) for number, at in crowd.refused] == [(1, 2.0)]
        crowd.nothing_is_left()

    run_virtual(scenario())


def test_a_rate_is_waited_for_where_the_wait_is_short_enough():
    async def scenario():
        crowd = Crowd(Scene(waiting(30, requests_per_minute=2)))
        await asyncio.gather(*(crowd.ask(number, 25.0 * number, 0.1) for number in range(6)))
        assert crowd.served == sorted(crowd.served)
        assert len(crowd.served) >= 4
        assert len(crowd.served) + len(crowd.refused) == 6
        crowd.nothing_is_left()

    run_virtual(scenario())


def test_what_never_fits_is_not_waited_for():
    async def scenario():
        scene = Scene(waiting(30, tokens_per_minute=100))
        began = scene.loop.time()
        with pytest.raises(RefusedError) as refused:
            await scene.open(request_of("cheap", max_tokens=5000))
        assert scene.loop.time() == began
        assert (b"x-should-retry", b"false") in refused.value.refusal.headers

    run_virtual(scenario())


@pytest.mark.parametrize("seed", range(40))
def test_whoever_leaves_the_queue_holds_nobody_up(seed):
    """Callers come, wait, give up and are served at random; at the end everybody is through, and nothing is held."""
    rng = Random(seed)

    async def scenario():
        wait_s = rng.choice((1, 5, 60))
        scene = Scene(waiting(wait_s, concurrency=rng.choice((1, 2, 3))))
        crowd = Crowd(scene)
        tasks = [
            asyncio.create_task(crowd.ask(number, rng.choice((0.0, 0.5, 1.0)), rng.choice((0.0, 0.1, 1.0))))
            for number in range(25)
        ]
        leavers = rng.sample(tasks, 10)
        for task in leavers:
            scene.loop.call_later(rng.choice((0.0, 0.5, 0.6, 1.0, 1.1)), task.cancel)
        done, _ = await asyncio.wait(tasks, timeout=200)
        assert len(done) == len(tasks), "somebody was forgotten"
        cut = sum(task.cancelled() for task in tasks)
        assert len(crowd.served) + len(crowd.refused) >= len(tasks) - cut
        assert crowd.most <= 3
        if wait_s == 60:
            assert not crowd.refused, "there was time for all of them"
        crowd.nothing_is_left()

    run_virtual(scenario())


def test_two_who_were_first_do_not_wake_each_other():
    """Both were asking a store that answers slowly, which now says no at once."""

    async def scenario():
        turns, asked = Turns(asyncio.get_running_loop()), []
        meter = Meter("places", Unit.SLOTS, 1, NoWindow())
        scope, full = Scope("places", meter, wait_s=3.0), Denied(meter, 1, 0, 1, 1, inf, None)
        deadline = asyncio.get_running_loop().time() + 3.0

        async def wait(name):
            while await turns.wait(scope, full, deadline, 10, is_first=True):
                asked.append(name)
                assert len(asked) < 200, "they do nothing else any more"

        await asyncio.gather(wait("one"), wait("other"))
        assert not turns.queues
        assert 20 < len(asked) < 65, "ten times a second each"

    run_virtual(scenario())
