"""The clocks of an exchange: what expires, what passes, and whose cancellation it was."""

import asyncio
from contextlib import suppress

import pytest

from policies.timeouts import Watchdog
from providers.base import Cause, ErrorKind, ProviderError
from tests.fakes.virtual_time import run_virtual


def _watchdog(total_s=100.0):
    loop = asyncio.get_running_loop()
    return Watchdog(loop, loop.time() + total_s, total_s)


async def _expiry(total_s, *phases):
    """Enter phases (cause, limit, time spent in it) one after the other; returns the error and when it came."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    watchdog = _watchdog(total_s)
    with pytest.raises(ProviderError) as caught:
        cause, limit_s, spent_s = phases[0]
        watchdog.limit(cause, limit_s)
        with watchdog:
            await asyncio.sleep(spent_s)
            for cause, limit_s, spent_s in phases[1:]:
                watchdog.limit(cause, limit_s)
                await asyncio.sleep(spent_s)
    assert asyncio.current_task().cancelling() == 0
    return caught.value, loop.time() - began


@pytest.mark.parametrize(
    ("total_s", "phases", "cause", "at", "text"),
    [
        (100, [(Cause.TTFT, 5, 50)], Cause.TTFT, 5, "no content within 5 s"),
        (100, [(Cause.TTFT, 5, 2), (Cause.IDLE, 3, 50)], Cause.IDLE, 5, "silent for 3 s"),
        (4, [(Cause.TTFT, 5, 50)], Cause.TOTAL, 4, "within 4 s"),
        (4, [(Cause.TTFT, 3, 2), (Cause.IDLE, 30, 50)], Cause.TOTAL, 4, "within 4 s"),
        # A phase that ends before the timer that is armed for the one before it.
        (100, [(Cause.TTFT, 60, 1), (Cause.IDLE, 0.5, 50)], Cause.IDLE, 1.5, "silent for 0.5 s"),
        (5, [(Cause.TTFT, 5, 50)], Cause.TOTAL, 5, "within 5 s"),
    ],
)
def test_expiry(total_s, phases, cause, at, text):
    error, after_s = run_virtual(_expiry(total_s, *phases))
    assert (error.kind, error.cause) == (ErrorKind.BROKEN, cause)
    assert after_s == pytest.approx(at)
    assert text in error.message


def test_touch_moves_the_limit_and_nothing_fires_while_pieces_come():
    async def work():
        watchdog = _watchdog()
        watchdog.limit(Cause.IDLE, 3)
        with watchdog:
            for _ in range(20):
                await asyncio.sleep(2.9)
                watchdog.touch()

    run_virtual(work())


@pytest.mark.parametrize("paused_s", [0.5, 2.9, 3.0, 3.1, 10, 29.5])
def test_a_pause_has_no_limit_but_the_total_and_the_phase_after_it_is_kept(paused_s):
    async def work():
        loop = asyncio.get_running_loop()
        watchdog = _watchdog(60)
        watchdog.limit(Cause.IDLE, 3)
        with pytest.raises(ProviderError) as caught, watchdog:
            watchdog.pause()
            await asyncio.sleep(paused_s)
            watchdog.touch()
            began = loop.time()
            await asyncio.sleep(1000)
        assert caught.value.cause is Cause.IDLE
        assert loop.time() - began == pytest.approx(3, abs=0.01)

    run_virtual(work())


def test_the_total_ends_a_pause():
    async def work():
        watchdog = _watchdog(60)
        watchdog.limit(Cause.IDLE, 3)
        with pytest.raises(ProviderError) as caught, watchdog:
            watchdog.pause()
            await asyncio.sleep(1000)
        assert caught.value.cause is Cause.TOTAL

    run_virtual(work())


def test_a_cancellation_by_somebody_else_passes():
    async def guarded():
        watchdog = _watchdog()
        watchdog.limit(Cause.TTFT, 5)
        with watchdog:
            await asyncio.sleep(1000)

    async def work():
        task = asyncio.ensure_future(guarded())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run_virtual(work())


@pytest.mark.parametrize("first", ["limit", "client"])
def test_when_both_come_at_once_the_client_wins(first):
    async def guarded():
        watchdog = _watchdog()
        watchdog.limit(Cause.TTFT, 5)
        with watchdog:
            await asyncio.sleep(1000)

    async def work():
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(guarded())
        if first == "client":
            loop.call_at(loop.time() + 5, task.cancel)
        await asyncio.sleep(0)
        if first == "limit":
            loop.call_at(loop.time() + 5, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run_virtual(work())


def test_another_error_at_the_moment_of_expiry_is_kept():
    async def work():
        watchdog = _watchdog()
        watchdog.limit(Cause.TTFT, 5)
        with pytest.raises(KeyError), watchdog:
            try:
                await asyncio.sleep(1000)
            finally:
                raise KeyError("from the cleanup")
        assert asyncio.current_task().cancelling() == 0

    run_virtual(work())


def test_a_body_that_swallows_the_cancellation_goes_on():
    async def work():
        watchdog = _watchdog()
        watchdog.limit(Cause.TTFT, 5)
        with watchdog, suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await asyncio.sleep(1)
        assert asyncio.current_task().cancelling() == 0

    run_virtual(work())


def test_no_timer_survives():
    async def work():
        loop = asyncio.get_running_loop()
        watchdog = _watchdog()
        watchdog.limit(Cause.TTFT, 5)
        with watchdog:
            await asyncio.sleep(1)
            watchdog.limit(Cause.IDLE, 1)
            await asyncio.sleep(0.5)
        # A limit set outside arms nothing.
        watchdog.limit(Cause.IDLE, 0.1)
        await asyncio.sleep(50)
        assert not [handle for handle in loop._scheduled if not handle.cancelled()]

    run_virtual(work())


def test_it_can_be_used_again_on_a_real_loop():
    async def work():
        watchdog = _watchdog(5)
        for _ in range(3):
            watchdog.limit(Cause.TTFT, 0.02)
            with watchdog:
                await asyncio.sleep(0)
        watchdog.limit(Cause.IDLE, 0.02)
        with pytest.raises(ProviderError) as caught, watchdog:
            await asyncio.sleep(5)
        assert caught.value.cause is Cause.IDLE

    asyncio.run(work())


def test_outside_of_a_task_it_says_so():
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(RuntimeError, match="task"), Watchdog(loop, 1.0, 1.0):
            pass
    finally:
        loop.close()
