"""An event loop whose clock jumps: sleeping costs nothing, and waiting for what never comes is an error, not a hang."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class DeadlockError(AssertionError):
    """Nothing is scheduled and nobody will wake the loop."""


class _Selector(selectors.SelectSelector):
    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise DeadlockError("every task waits, and no timer is set")
        if timeout > 0:
            self.loop.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`now` is its clock in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run_virtual(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end in virtual time, and check that nothing is left behind."""
    loop = VirtualLoop()
    try:
        result = loop.run_until_complete(work)
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        assert not left, f"left behind: {left}"
        return result
    finally:
        loop.close()
