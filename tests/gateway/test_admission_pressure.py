"""Memory and event loop: what is given up at which share, and when it is taken back."""

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry

from gateway.admission import Gate, OverloadLimits
from gateway.connection import DrainingState
from gateway.memory import LagWatch, MemoryStep, Pressure, PressureWatch, container_share, next_step, resident
from gateway.telemetry.metrics import Metrics
from gateway.wire.refusals import RefusedError
from tests.fakes.virtual_time import run_virtual
from tests.gateway.listening import CHAT, Listening, post, statuses
from tests.gateway.scripted import Answer, ScriptedTransport

LIMIT = 1000


class Worker:
    """A gate and a watch over memory that a test sets."""

    def __init__(self, **limits):
        self.used = 0
        self.metrics = Metrics(CollectorRegistry())
        self.state, self.pressure = DrainingState(), Pressure()
        loop = asyncio.get_running_loop()
        self.gate = Gate(loop, self.metrics.admission, OverloadLimits(max_in_flight=20, **limits))
        watch = PressureWatch(
            self.gate,
            self.state,
            self.metrics.admission,
            self.pressure,
            container_bytes=LIMIT,
            resident_bytes=lambda: self.used,
        )
        self.task = asyncio.create_task(watch.run())

    async def at(self, used):
        self.used = used
        await asyncio.sleep(1.0)
        gauge = self.metrics.registry.get_sample_value("signalbox_memory_step")
        return gauge, self.pressure.allows_cache_fills, self.state.is_short_of_memory, self.gate.open_below == 0

    async def stop(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def test_steps_are_taken_and_taken_back():
    async def main():
        worker = Worker()
        seen = [await worker.at(used) for used in (700, 799, 800, 900, 950, 2000, 930, 910, 880, 840, 780, 760)]
        await worker.stop()
        return seen

    calm, no_fills, close, shed = (0, True, False, False), (1, False, False, False), (2, False, True, False), (
        3, False, True, True,
    )  # fmt: skip
    assert run_virtual(main()) == [
        calm, calm, no_fills, close, shed, shed, shed, close, close, no_fills, no_fills, calm,
    ]  # fmt: skip


def test_the_configured_limit_goes_before_the_containers():
    async def main():
        worker = Worker(memory_bytes=500)
        shed = await worker.at(600)
        worker.gate.use(OverloadLimits(max_in_flight=20))
        calm = await worker.at(600)
        await worker.stop()
        return shed[0], calm[0]

    assert run_virtual(main()) == (3, 0)


def test_the_limit_of_connections_follows_the_configuration():
    async def main():
        worker = Worker(max_connections=7)
        await worker.at(0)
        await worker.stop()
        worker.state.on_closed("silent")
        return worker

    worker = run_virtual(main())
    assert worker.state.max_connections == 7
    labels = {"reason": "silent"}
    assert worker.metrics.registry.get_sample_value("signalbox_connections_closed_total", labels) == 1


def test_a_worker_short_of_memory_serves_a_trickle():
    async def main():
        worker = Worker()
        await worker.at(990)
        await worker.gate.enter("a", is_priority=False)
        with pytest.raises(RefusedError):
            await worker.gate.enter("a", is_priority=True)
        value = worker.metrics.registry.get_sample_value("signalbox_shed_total", {"reason": "memory"})
        await worker.stop()
        return value

    assert run_virtual(main()) == 1


def test_one_pause_is_not_a_busy_loop():
    watch = LagWatch()
    assert not watch.tick(0.1, 5.0)
    assert not watch.tick(5.1, 5.1)
    assert [watch.tick(at, at + 0.4) for at in (6.0, 6.5, 7.0, 7.5)] == [False, False, True, True]
    assert not watch.tick(8.0, 8.1)
    assert not watch.tick(8.0, 8.4), "counted anew"


def test_a_busy_loop_refuses_new_requests_until_it_is_calm():
    async def main():
        worker = Worker()
        deadline = time.monotonic() + 20
        while not worker.pressure.is_lagging:
            assert time.monotonic() < deadline
            time.sleep(0.4)  # noqa: ASYNC251 - this is the busy loop
            await asyncio.sleep(0)
        assert worker.gate.open_below == 0
        for _ in range(200):
            await asyncio.sleep(0.05)
            if worker.gate.open_below:
                break
        assert worker.gate.open_below == 20
        await worker.stop()

    asyncio.run(main())


def test_answers_ask_clients_to_leave():
    async def main():
        async with Listening({"a": ScriptedTransport(Answer([b"7,3,{}", None]))}) as gateway:
            gateway.state.is_short_of_memory = True
            data = await gateway.talk(post(CHAT))
            assert statuses(data) == [200]
            assert b"\r\nconnection: close\r\n" in data

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "share"), [("1000000\n", 250000), ("max\n", None), ("9223372036854771712\n", None), (None, None)]
)
def test_a_containers_limit_is_shared_by_the_workers(tmp_path, text, share):
    file = tmp_path / "memory.max"
    if text is not None:
        file.write_text(text)
    assert container_share(4, (tmp_path / "none", file)) == share


def test_this_process_occupies_memory():
    assert 10_000_000 < resident() < 10_000_000_000
    assert next_step(MemoryStep.CALM, 0.5) is MemoryStep.CALM
