"""Asynchronous tests without a plugin: each runs on asyncio's loop and on uvloop's, and leaves nothing behind."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

_LOOPS = [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]
_TEST_LIMIT_S = 60.0


def both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a coroutine function a test of both loops. A task or a complaint of the loop that is left over fails it."""

    @functools.wraps(test)
    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        complaints: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            async with asyncio.timeout(_TEST_LIMIT_S):
                await test(**arguments)
            for _ in range(10):
                await asyncio.sleep(0)  # what was cancelled ends in the next rounds
            assert asyncio.all_tasks() == {asyncio.current_task()}

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())
        assert not complaints

    parameters = list(inspect.signature(test).parameters.values())
    loop_factory = inspect.Parameter("loop_factory", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = inspect.Signature([loop_factory, *parameters])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("loop_factory", _LOOPS)(run)
