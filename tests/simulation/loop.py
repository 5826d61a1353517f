"""A virtual clock under which the order of what is ready is drawn from the seed."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from tests.fakes.virtual_time import VirtualLoop

_TIE_S = 1e-7


class ShufflingLoop(VirtualLoop):
    """Everything that is ready at the same time runs in an order drawn from `rng`; None leaves it as asyncio has it.

    Timers of the same moment are told apart by a tenth of a microsecond, drawn as well.
    """

    def __init__(self, rng: Random | None) -> None:
        super().__init__()
        self._rng = rng

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        if self._rng is not None:
            when += _TIE_S * self._rng.random()
        return super().call_at(when, callback, *args, context=context)

    def armed(self) -> list[asyncio.TimerHandle]:
        """Timers that somebody forgot."""
        return [timer for timer in self._scheduled if not timer.cancelled()]

    def _run_once(self) -> None:
        if self._rng is not None and len(self._ready) > 1:
            self._rng.shuffle(self._ready)
        super()._run_once()
