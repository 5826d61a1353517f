"""The gate of a worker: places, turns, shares, and what never may happen to them."""

import asyncio
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prometheus_client import CollectorRegistry

from gateway.admission import Gate, OverloadLimits, ShedReason
from gateway.telemetry.metrics import Metrics
from gateway.wire.refusals import RefusedError
from tests.fakes.virtual_time import run_virtual

CALLERS = {"a": False, "b": False, "c": False, "vip": True}


def gate_of(loop, **limits):
    return Gate(loop, Metrics(CollectorRegistry()).admission, OverloadLimits(**limits), Random(1))


class GateMachine(RuleBasedStateMachine):
    """Any order of arrivals, departures, cancellations, time-outs, pressure and reloads."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.limits = OverloadLimits(max_in_flight=6, queue_max=5, reserve=1, kept_free=1)
        self.gate = Gate(self.loop, Metrics(CollectorRegistry()).admission, self.limits, Random(1))
        self.served: list[str] = []
        self.queued = []
        self.cancelled = []
        self.is_shedding = False
        self.order: dict[str, list[int]] = {}
        self.numbers = {}

    def teardown(self):
        self.loop.close()

    def sort_out(self):
        """Move who was given a place or refused out of the queue, and check the order within each caller."""
        admitted = [w for w in self.queued if w.future.done() and w.future.result() is None]
        self.served += [waiter.name for waiter in admitted]
        self.queued = [w for w in self.queued if not w.future.done()]
        for waiter in admitted:
            older = [w for w in self.queued if w.name == waiter.name and self.numbers[w] < self.numbers[waiter]]
            assert not older, "overtaken by a request of the same caller"

    @rule(name=st.sampled_from(sorted(CALLERS)))
    def arrive(self, name):
        if self.gate.in_flight < self.gate.open_below:
            assert not self.queued, "past those who wait"
            self.gate.in_flight += 1
            self.gate.held[name] += 1
            self.served.append(name)
            return
        waiter = self.gate.ask(name, is_priority=CALLERS[name])
        self.numbers[waiter] = len(self.numbers)
        self.queued.append(waiter)
        self.sort_out()

    @precondition(lambda self: self.served)
    @rule(data=st.data())
    def leave(self, data):
        name = self.served.pop(data.draw(st.integers(0, len(self.served) - 1)))
        others = {w.name for w in self.queued}
        share = {n: self.served.count(n) for n in others}
        before = list(self.queued)
        self.gate.leave(name)
        self.sort_out()
        given = [w.name for w in before if w not in self.queued]
        if len(given) == 1 and share[given[0]] >= self.limits.max_in_flight // 2:
            could = {w.name for w in self.queued if self.fits(w.name, len(self.served) - 1)}
            assert all(share[n] >= self.limits.max_in_flight // 2 for n in could), "more than half, while others wait"

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def client_leaves(self, data):
        """asyncio cancels the future first; the request hears of it later."""
        waiter = self.queued.pop(data.draw(st.integers(0, len(self.queued) - 1)))
        waiter.future.cancel()
        self.cancelled.append(waiter)

    @precondition(lambda self: self.cancelled)
    @rule()
    def request_hears_of_it(self):
        self.gate.abandon(self.cancelled.pop(0))
        self.sort_out()

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def place_and_departure_at_once(self, data):
        """A place is given, and before the request runs its client has left."""
        waiter = data.draw(st.sampled_from(self.queued))
        if not self.served:
            return
        self.gate.leave(self.served.pop())
        was_given = waiter.future.done()
        self.gate.abandon(waiter)
        self.queued.remove(waiter)
        self.sort_out()
        assert was_given or not waiter.is_queued

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def too_late(self, data):
        waiter = data.draw(st.sampled_from(self.queued))
        self.gate.refuse(waiter, ShedReason.QUEUE_TIMEOUT)
        assert waiter.future.result() is ShedReason.QUEUE_TIMEOUT
        self.sort_out()

    @rule(is_shedding=st.booleans())
    def pressure(self, is_shedding):
        self.is_shedding = is_shedding
        self.gate.shed(ShedReason.MEMORY if is_shedding else None)
        self.sort_out()

    @rule(most=st.integers(1, 8), queue=st.integers(0, 5), reserve=st.integers(0, 1), kept_free=st.integers(0, 1))
    def reload(self, most, queue, reserve, kept_free):
        reserve = min(reserve, most - 1)
        self.limits = OverloadLimits(most, queue, 1.0, reserve, kept_free=min(kept_free, most - 1 - reserve))
        self.gate.use(self.limits)
        self.sort_out()

    def fits(self, name, in_flight):
        limits = self.limits
        most = limits.max_in_flight - (0 if CALLERS[name] else limits.reserve)
        if self.served.count(name) >= limits.max_in_flight // 2:
            most -= limits.kept_free
        return in_flight < (1 if self.is_shedding else most)

    @invariant()
    def books_are_right(self):
        gate = self.gate
        assert gate.in_flight == len(self.served)
        held = {name: held for name, held in gate.held.items() if held}
        assert held == {name: self.served.count(name) for name in self.served}
        still = [w for w in self.cancelled if w.is_queued]
        assert gate.waiting == len(self.queued) + len(still)

    @invariant()
    def nobody_sleeps_before_a_free_place(self):
        sleeping = [w.name for w in self.queued if self.fits(w.name, self.gate.in_flight)]
        assert not sleeping, "a lost wake-up"

    @invariant()
    def a_place_without_a_call_is_a_free_one(self):
        if self.gate.open_below:
            assert not self.queued
            assert self.gate.open_below <= self.limits.max_in_flight - self.limits.reserve - self.limits.kept_free


class BoundedGateMachine(GateMachine):
    """The same without reloads and pressure: then the bounds hold at every moment."""

    reload = None
    pressure = None

    @invariant()
    def within_bounds(self):
        assert self.gate.in_flight <= self.limits.max_in_flight
        assert self.gate.waiting <= self.limits.queue_max
        normal = sum(1 for name in self.served if not CALLERS[name])
        assert normal <= self.limits.max_in_flight - self.limits.reserve


for machine in (GateMachine, BoundedGateMachine):
    machine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestGate = GateMachine.TestCase
TestBoundedGate = BoundedGateMachine.TestCase


async def served(gate, name, seconds, *, is_priority=False, timeout_s=None):
    await gate.enter(name, is_priority=is_priority, timeout_s=timeout_s)
    try:
        await asyncio.sleep(seconds)
    finally:
        gate.leave(name)


def test_a_storm_in_virtual_time():
    """Requests of random length, a third of whose clients leave: the gate is empty and open afterwards."""

    async def main(seed):
        rng = Random(seed)
        loop = asyncio.get_running_loop()
        gate = gate_of(loop, max_in_flight=10, queue_max=20, queue_wait_s=1.0, reserve=1)
        peak, refused = 0, 0

        async def one(number):
            nonlocal peak, refused
            await asyncio.sleep(rng.random() * 5)
            try:
                await gate.enter(f"caller {number % 4}", is_priority=number % 4 == 0)
            except RefusedError:
                refused += 1
                return
            peak = max(peak, gate.in_flight)
            try:
                await asyncio.sleep(rng.random())
            finally:
                gate.leave(f"caller {number % 4}")

        tasks = [asyncio.create_task(one(number)) for number in range(300)]
        for task in tasks[::3]:
            loop.call_later(rng.random() * 6, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert peak == 10
        assert refused
        assert (gate.in_flight, gate.waiting, gate.open_below) == (0, 0, 9)
        assert not any(gate.held.values())

    for seed in range(10):
        run_virtual(main(seed))


@pytest.mark.parametrize(("timeout_s", "waits_s"), [(None, 1.0), (0.25, 0.25), (30.0, 1.0)])
def test_a_wait_ends_at_the_shorter_of_both_limits(timeout_s, waits_s):
    async def main():
        loop = asyncio.get_running_loop()
        gate = gate_of(loop, max_in_flight=1, queue_max=5, queue_wait_s=1.0)
        holder = asyncio.create_task(served(gate, "a", 5))
        await asyncio.sleep(0)
        began = loop.time()
        with pytest.raises(RefusedError) as error:
            await gate.enter("b", is_priority=False, timeout_s=timeout_s)
        assert loop.time() - began == pytest.approx(waits_s)
        await holder
        return error.value

    error = run_virtual(main())
    headers = dict(error.refusal.headers)
    assert (error.refusal.status, error.refusal.error["code"]) == (429, "overloaded")
    assert headers[b"x-should-retry"] == b"true"
    assert 1000 <= int(headers[b"retry-after-ms"]) <= 5000
    assert 0 <= int(headers[b"retry-after"]) * 1000 - int(headers[b"retry-after-ms"]) < 1000


def test_advice_to_retry_is_spread():
    async def main():
        gate = gate_of(asyncio.get_running_loop(), max_in_flight=1, queue_max=0)
        await gate.enter("a", is_priority=False)
        given = set()
        for _ in range(50):
            with pytest.raises(RefusedError) as error:
                await gate.enter("a", is_priority=False)
            given.add(int(dict(error.value.refusal.headers)[b"retry-after-ms"]))
        return given

    given = run_virtual(main())
    assert len(given) > 40
    assert max(given) - min(given) > 2500


def test_a_flood_of_one_caller_leaves_room_for_another():
    """Both in the queue and in the places that come free."""

    async def main():
        gate = gate_of(asyncio.get_running_loop(), max_in_flight=4, queue_max=6, queue_wait_s=100.0)
        done = []

        async def one(name, number):
            try:
                await served(gate, name, 1.0)
                done.append(name)
            except RefusedError:
                done.append(f"{name} refused")

        flood = [asyncio.create_task(one("flood", n)) for n in range(20)]
        await asyncio.sleep(0.1)
        assert (gate.in_flight, gate.waiting) == (4, 6)
        small = [asyncio.create_task(one("small", n)) for n in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (gate.in_flight, gate.waiting) == (4, 6), "the flood's last ones made room"
        await asyncio.sleep(1.0)
        assert gate.held["small"] == 2
        assert gate.held["flood"] == 2, "half of the places, while others wait"
        await asyncio.gather(*flood, *small)
        return done

    done = run_virtual(main())
    assert done.count("small") == 3
    assert done.count("small refused") == 0
    assert done.count("flood refused") == 13


@pytest.mark.parametrize(("has_others", "held"), [(True, 9), (False, 10)])
def test_long_streams_of_one_caller_do_not_shut_the_others_out(has_others, held):
    """Its places do not come free for minutes; alone it may have all of them."""

    async def main():
        gate = gate_of(asyncio.get_running_loop(), max_in_flight=10, queue_max=20, queue_wait_s=1.0)
        gate.use(gate.limits.for_keys(has_priority=False, has_others=has_others))
        flood = [asyncio.create_task(served(gate, "flood", 300.0)) for _ in range(15)]
        await asyncio.sleep(0.1)
        assert gate.held["flood"] == held
        small = asyncio.create_task(served(gate, "small", 1.0))
        await asyncio.sleep(0.1)
        assert gate.held["small"] == has_others, "at once"
        await asyncio.sleep(2.0)
        assert (gate.held["flood"], gate.waiting) == (held, 0)
        ends = await asyncio.gather(*flood, small, return_exceptions=True)
        assert isinstance(ends[-1], RefusedError) is not has_others

    run_virtual(main())


def test_priority_has_places_of_its_own():
    async def main():
        gate = gate_of(asyncio.get_running_loop(), max_in_flight=10, queue_max=0, reserve=1)
        for _ in range(9):
            await gate.enter("crowd", is_priority=False)
        with pytest.raises(RefusedError):
            await gate.enter("crowd", is_priority=False)
        await gate.enter("vip", is_priority=True)
        with pytest.raises(RefusedError):
            await gate.enter("vip", is_priority=True)

    run_virtual(main())


def test_under_pressure_a_trickle_goes_on():
    async def main():
        gate = gate_of(asyncio.get_running_loop(), max_in_flight=40, queue_max=5)
        gate.shed(ShedReason.MEMORY)
        for _ in range(2):
            await gate.enter("a", is_priority=False)
        with pytest.raises(RefusedError):
            await gate.enter("a", is_priority=False)
        assert gate.waiting == 0, "nobody waits for memory"
        gate.shed(None)
        assert gate.open_below == 40

    run_virtual(main())


def test_what_happened_is_counted():
    async def main():
        metrics = Metrics(CollectorRegistry())
        gate = Gate(asyncio.get_running_loop(), metrics.admission, OverloadLimits(1, 1, 0.5), Random(1))
        await gate.enter("a", is_priority=False)
        late = asyncio.create_task(gate.enter("a", is_priority=False))
        await asyncio.sleep(0)
        with pytest.raises(RefusedError):
            await gate.enter("a", is_priority=False)
        displaced = late
        with pytest.raises(RefusedError):
            await displaced
        value = metrics.registry.get_sample_value
        assert value("signalbox_shed_total", {"reason": "queue_full"}) == 1
        assert value("signalbox_shed_total", {"reason": "queue_timeout"}) == 1
        assert value("signalbox_queue_wait_seconds_sum") == pytest.approx(0.5)

    run_virtual(main())


def turns_of(gate, arrivals):
    """Line up in this order, then free place after place: the order in which they were served."""
    waiting = {gate.ask(name, is_priority=False): (name, number) for number, name in enumerate(arrivals)}
    order = []
    while waiting:
        gate.leave("holder")
        order += [waiting.pop(waiter) for waiter in list(waiting) if waiter.future.done()]
    return order


def test_places_go_round_the_callers_oldest_first():
    async def main():
        gate = gate_of(asyncio.get_running_loop(), max_in_flight=100, queue_max=100)
        gate.in_flight, gate.held["holder"] = 100, 100
        return turns_of(gate, "aaabbc")

    assert run_virtual(main()) == [("a", 0), ("b", 3), ("c", 5), ("a", 1), ("b", 4), ("a", 2)]


def test_a_caller_with_half_of_all_places_is_passed_over():
    async def main():
        gate = gate_of(asyncio.get_running_loop(), max_in_flight=10, queue_max=100)
        gate.in_flight = 10
        gate.held.update(a=5, holder=5)
        return turns_of(gate, "aabb")

    served = run_virtual(main())
    assert served == [("b", 2), ("b", 3), ("a", 0), ("a", 1)], "and served when nobody else waits"
