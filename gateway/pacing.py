"""Requests that wait for the pause of a provider to end, because nobody else can take them.

A short wait is better than a refusal. When the pause is over they come back one after the other: all at once they would
meet the limit again.
"""

import asyncio
from math import inf

from policies.retry import LONGEST_HINT_S

# Between two that come back to the same deployment.
_GAP_S = 0.02
# Timers may fire a little before the time by another clock.
_CLOCKS_APART_S = 0.005


class Pacing:
    """The turns of one worker. Nobody waits longer than for any hint of a provider, which bounds how many can."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._turns: dict[str, float] = {}  # the latest one given out, by deployment id, in loop time

    async def wait(self, id: str, pause_s: float, began_s: float, until_s: float) -> bool:
        """Wait for a turn at the deployment, which is paused for `pause_s`. False where that would be too long for a
        request that waits since `began_s` and is to be over by `until_s`, both in loop time.
        """
        now = self._loop.time()
        turn_s = max(now + pause_s + _CLOCKS_APART_S, self._turns.get(id, -inf) + _GAP_S)
        if turn_s - began_s > LONGEST_HINT_S or turn_s >= until_s:
            return False
        self._turns[id] = turn_s
        try:
            await asyncio.sleep(turn_s - now)
        finally:
            if self._turns.get(id) == turn_s:
                del self._turns[id]
        return True
