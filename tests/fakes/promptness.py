"""Promises of the kind "at once", judged on a machine that may be busy with something else.

A busy machine spoils one measurement now and then. What waits for a timer, for a limit or for the other side's own end
is late every time.
"""

from collections.abc import Awaitable, Callable
from statistics import median

_MORE_TRIES = 4


def typical(once: Callable[[], float], bar_s: float) -> float:
    """Seconds of the first try; where that one is not below the bar, the median of it and four more."""
    first = once()
    return first if first < bar_s else median([first, *(once() for _ in range(_MORE_TRIES))])


async def typically(once: Callable[[], Awaitable[float]], bar_s: float) -> float:
    """The same for a coroutine function."""
    first = await once()
    return first if first < bar_s else median([first, *[await once() for _ in range(_MORE_TRIES)]])
