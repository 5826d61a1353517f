"""Upstream calls that the cache makes for itself: to check a hit, or to have a text as a vector.

They are decided, bounded, booked and charged as those of callers are, but nobody waits in a queue for them, they are
tried once, and they teach routing nothing.
"""

import asyncio
from collections.abc import Callable, Mapping

from gateway.asking import ask_of, decide
from gateway.attempt_run import InterruptedStreamError, Limits
from gateway.attempts import AttemptEngine
from gateway.mirror import Nowhere
from gateway.money.desk import Desk
from gateway.runtime import Caller, Runtime
from policies.ledger import Purpose
from policies.outcome import Outcome
from providers.base import ProviderError, Request


class OwnCalls:
    """Against one Runtime. `desk` is None where no books are kept."""

    def __init__(
        self,
        runtime: Runtime,
        desk: Desk | None,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._runtime = runtime
        self._desk = desk
        self._loop = loop
        self._clock = clock
        self._wall_clock = wall_clock
        self._engine = AttemptEngine(runtime, loop, clock)

    async def ask(
        self, request: Request, payer: Caller, headers: Mapping[bytes, bytes], purpose: Purpose
    ) -> Outcome | None:
        """A whole answer, or the Outcome of a failure; None where the payer's budget would send it to somebody else.

        Raises RefusedError where the payer may not ask for this, or a budget or limit has no room now.
        """
        runtime, desk = self._runtime, self._desk
        ask = ask_of(request, payer, headers, self._wall_clock())
        if desk is not None and desk.soft.reached and desk.moved(runtime, payer, ask) is not payer:
            return None
        decision = decide(runtime, request, ask, payer)
        provider = decision.candidates[0].provider
        total_s = runtime.timeouts_of(decision.route, provider).total_s
        limits = Limits(self._loop.time() + total_s, total_s, 1)
        if desk is not None and (scopes := desk.scopes_of(runtime, payer, ask, decision)):
            now = self._loop.time()
            limits.tab, decision, _ = await desk.open(runtime, scopes, request, ask, decision, headers, now)
        outcome = Outcome(request, payer.name, self._clock(), decision)
        try:
            await self._engine.run(decision, outcome, Nowhere(), limits)
        except ProviderError:
            outcome.ending = "upstream_error"
        except InterruptedStreamError:
            outcome.ending = "interrupted"
        except asyncio.CancelledError:
            outcome.ending = "shutdown"
            raise
        finally:
            for attempt in outcome.attempts:
                if attempt.cost_nusd is not None:
                    outcome.cost_nusd = (outcome.cost_nusd or 0) + attempt.cost_nusd
            if desk is not None:
                desk.settle_own(outcome, limits.tab, payer, ask, purpose)
        return outcome
