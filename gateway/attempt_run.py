"""One upstream call, from the request that is sent to the usage that is charged for."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from gateway.counted import usage_of_cut, usage_of_stream, usage_of_whole
from gateway.money.tab import Tab
from gateway.runtime import Runtime
from gateway.walk import Detour
from policies.breaker import BreakerVerdict
from policies.outcome import Attempt, Outcome
from policies.retry import Retry
from policies.timeouts import Watchdog
from policies.verdicts import TIMEOUTS, VERDICTS, breaker_verdict
from providers.base import Cause, ErrorKind, ProviderError, Request, StreamDecoder, Usage
from providers.bounds import asked_tier
from providers.output_cap import capped
from providers.reasoning import ASKING, asks_to_think
from providers.tokens import estimate_prompt
from providers.transport import Exchange
from routing.decision import Deployment

# What an answer may weigh in memory; a larger one is a fault of the provider.
MAX_REPLY_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 256 * 1024
# Output tokens from which on their number says something about the time that each takes.
_TELLING_TOKENS = 16
_DROPPED_SHOWN = 5
_DONE = b"data: [DONE]\n\n"
# After the terminal event the body ends at once; waiting a moment for that keeps the connection reusable.
_AFTER_DONE_S = 1.0
_OK, _TTFT = BreakerVerdict.OK, Cause.TTFT  # to look into an enumeration takes ten times as long


class Sink(Protocol):
    """Where a streamed answer goes. `start` is called once, at the commit point."""

    def start(self, outcome: Outcome) -> None: ...

    def write(self, data: bytes) -> Awaitable[None] | None:
        """Take a piece. Returns something to wait for when whoever reads is slower than the provider."""
        ...

    def end(self) -> None:
        """The caller has everything. Called where the provider keeps its side open after that."""
        ...


class InterruptedStreamError(Exception):
    """The provider failed after the commit point; the caller has part of the answer."""

    def __init__(self, error: ProviderError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(slots=True)
class Limits:
    """What the request may take: when it has to be over (loop time), the seconds given for it, and upstream calls.

    `retry` says what an extra call needs. With `require_parameters` a candidate that cannot carry every parameter of
    the request is passed over. `is_shortened`: the caller has less time than is usual. `detour` finds the models that
    the route has for one kind of error. `tab` is what is held of budgets and limits, None where none holds. `size`
    gives the tokens of the request.
    """

    total_at: float
    total_s: float
    max_attempts: int
    require_parameters: bool = False
    retry: Retry = field(default_factory=Retry)
    is_shortened: bool = False
    detour: Detour | None = None
    tab: Tab | None = None
    size: Callable[[], int] | None = None


class AttemptRun:
    """One upstream call, from the request it sends to the usage it is charged for."""

    __slots__ = (
        "_clock",
        "_first_s",
        "_guard",
        "_idle_s",
        "_is_sent",
        "_latency",
        "_limits",
        "_loop",
        "_outcome",
        "_record",
        "_request",
        "_sink",
        "_target",
        "_ticket",
        "_ttft_s",
        "_upstream",
        "_watchdog",
        "on_commit",
    )

    def __init__(
        self,
        runtime: Runtime,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        deployment: Deployment,
        outcome: Outcome,
        sink: Sink,
        limits: Limits,
        ticket: int,
        *,
        is_last: bool,
    ) -> None:
        upstream = runtime.upstreams[deployment.provider]
        timeouts = upstream.timeouts
        if runtime.route_timeouts:
            timeouts = runtime.timeouts_of(outcome.decision.route, deployment.provider)
        request = outcome.request
        slower = timeouts.thinking
        if slower is not None and (
            deployment.target.thinks or (not ASKING.isdisjoint(request.body) and asks_to_think(request.body))
        ):
            timeouts = slower
        self._ttft_s = first_s = timeouts.ttft_s
        if not request.stream:
            # Such an answer has no first content to wait for: it comes when all of it is generated. While another
            # candidate remains it may take half of what is left, so that there is time for that one.
            left_s = limits.total_at - loop.time()
            first_s = left_s if is_last else max(first_s, left_s / 2)
        self._loop = loop
        self._clock = clock
        self._upstream = upstream
        self._first_s = first_s
        self._idle_s = timeouts.idle_s
        self._target = deployment.target
        self._outcome = outcome
        self._request = request
        self._sink = sink
        self._limits = limits
        self._guard = runtime.guard
        self._ticket = ticket
        self._latency = runtime.router.world.latency
        self._is_sent = False
        self.on_commit: Callable[[AttemptRun], None] | None = None  # told before anything is committed
        self._record = Attempt(deployment, clock())
        outcome.attempts.append(self._record)

    @property
    def record(self) -> Attempt:
        """What is known of the call."""
        return self._record

    async def attempt(self, *, fresh: bool = False) -> None:
        """Send, receive, record. Raises ProviderError before the commit point, InterruptedStreamError after it."""
        record, outcome, upstream, limits = self._record, self._outcome, self._upstream, self._limits
        try:
            request = self._request if limits.tab is None else await self._paid(limits.tab)
            call = upstream.provider.call(request, self._target)
            outcome.dropped = record.dropped = call.dropped
            if call.dropped and limits.require_parameters:
                what = ", ".join(call.dropped[:_DROPPED_SHOWN])
                raise ProviderError(ErrorKind.CALLER, f"It has no such parameter: {what}.", cause=Cause.UNSUPPORTED)
            record.started = self._clock()  # translating is our time, not the provider's
            self._latency.began(record.deployment.id)
            self._is_sent = True
            watchdog = self._watchdog = Watchdog(self._loop, limits.total_at, limits.total_s)
            watchdog.limit(_TTFT, self._first_s)
            with watchdog:
                async with upstream.transport.open(call, fresh=fresh) as exchange:
                    record.status = exchange.status
                    try:
                        if not 200 <= exchange.status < 300:
                            body = await exchange.read(MAX_ERROR_BYTES)
                            raise upstream.provider.error(exchange.status, exchange.headers, body)
                        if self._request.stream:
                            await self._stream(exchange)
                        else:
                            await self._whole(exchange)
                    except ProviderError as error:
                        # Before the connection is given back: whoever leaves meanwhile must not undo the verdict.
                        self._judge(error, exchange)
                        raise
        except ProviderError as error:
            if record.is_complete:
                return  # the answer is whole; how its connection ended afterwards is of no interest
            record.kind, record.cause, record.message = error.kind, error.cause, error.message
            record.retry_after_s = error.retry_after_s
            self._judge(error)
            if outcome.answered_by is record:
                raise InterruptedStreamError(error) from None
            raise
        finally:
            if not record.ended:
                record.ended = self._clock()
            self._settle()
            if self._ticket:
                self._guard.release(record.deployment, self._ticket)

    async def _paid(self, tab: Tab) -> Request:
        """The request within what is set aside for it. Raises ProviderError where one more call is too much."""
        record, request, attempts = self._record, self._request, self._outcome.attempts
        more = len(request.raw) - tab.worst.body_bytes  # a request that continues another's answer sends that along
        if len(attempts) > 1 or more > 0:
            attempts.remove(record)  # whoever leaves while a budget is asked leaves no call behind
            is_covered = await tab.covers(record.deployment, attempts, more_input=max(0, more))
            attempts.append(record)
            if not is_covered:
                message = "The budget does not pay for one more call of this request."
                raise ProviderError(ErrorKind.LOCAL, message, cause=Cause.UNSUPPORTED)
        tab.send()
        cap = tab.output_cap(record.deployment)
        return request if cap is None else capped(request, self._target, self._upstream.provider.kind, cap)

    async def _whole(self, exchange: Exchange) -> None:
        body = await exchange.read(MAX_REPLY_BYTES)
        record, outcome = self._record, self._outcome
        record.ended = self._clock()
        record.ttft_s = record.ended - record.started
        reply = self._upstream.provider.reply(self._request, self._target, body)
        record.usage = reply.usage or usage_of_whole(self._request, reply, self._count_input)
        record.is_complete = True
        self._guard.record(
            record.deployment,
            _OK,
            ticket=self._ticket,
            duration_s=record.ttft_s,
            headers=None if self._guard.is_calm and not getattr(exchange, "is_tight", True) else exchange.headers,
        )
        self._ticket = 0
        if self.on_commit is not None:
            self._commit(self.on_commit)
        outcome.reply = reply
        outcome.finish_reason = reply.finish_reason
        outcome.answered_by = record

    async def _stream(self, exchange: Exchange) -> None:
        provider, record, outcome = self._upstream.provider, self._record, self._outcome
        content_type = exchange.headers.get("content-type")
        if content_type is not None and content_type.startswith("application/json"):
            # A JSON body instead of a stream is an error object in nearly every case: let the dialect say so.
            reply = provider.reply(self._request, self._target, await exchange.read(MAX_REPLY_BYTES))
            record.usage = reply.usage  # a whole answer cannot be used here, but it will be on the bill
            raise ProviderError(ErrorKind.BROKEN, "The provider did not stream its answer.", cause=Cause.GARBAGE)
        decoder = provider.decoder(self._request, self._target)
        try:
            held, is_over = await _until_content(exchange, decoder)
            now = self._clock()
            record.ttft_s = now - record.started
            outcome.ttft_s = now - outcome.started
            if not self._guard.is_calm:
                self._ticket = self._guard.alive(record.deployment, self._ticket, ttft_s=record.ttft_s)
            if self.on_commit is not None:
                self._commit(self.on_commit)
            outcome.answered_by = record
            self._watchdog.limit(Cause.IDLE, self._idle_s)
            self._sink.start(outcome)
            await self._write(held)
            if not is_over and not held.endswith(_DONE):
                is_over = await self._forward(exchange, decoder)
            if decoder.error is not None:
                raise decoder.error
            record.is_complete = True
            self._guard.record(
                record.deployment,
                _OK,
                ticket=self._ticket,
                duration_s=record.ttft_s,
                headers=None if self._guard.is_calm and not getattr(exchange, "is_tight", True) else exchange.headers,
            )
            self._ticket = 0
            if not is_over:
                self._sink.end()
                self._watchdog.limit(Cause.IDLE, _AFTER_DONE_S)
                while await exchange.chunk() is not None:
                    pass
        finally:
            record.usage = decoder.usage if record.is_complete else usage_of_cut(decoder, self._count_input)
            if record.usage is None:
                record.usage = usage_of_stream(decoder, self._count_input)
            if outcome.answered_by is record:
                outcome.finish_reason = decoder.finish_reason

    async def _forward(self, exchange: Exchange, decoder: StreamDecoder) -> bool:
        """The committed part of a stream, at the caller's pace. True when the body ended, False at its last event."""
        watchdog = self._watchdog
        watchdog.touch()
        said = decoder.output_bytes
        while decoder.error is None:
            data = await exchange.chunk()
            out = decoder.close() if data is None else decoder.feed(data)
            if decoder.output_bytes != said:  # comments, pings and empty deltas are no progress
                said = decoder.output_bytes
                watchdog.touch()
            if out:
                waiting = self._sink.write(out)
                if waiting is not None:
                    await self._wait_for_reader(waiting, is_end=out.endswith(_DONE))
                if out.endswith(_DONE):
                    return data is None
            if data is None:
                return True
        return False

    def _commit(self, on_commit: "Callable[[AttemptRun], None]") -> None:
        on_commit(self)
        self._outcome.dropped = self._record.dropped

    async def _write(self, data: bytes) -> None:
        waiting = self._sink.write(data)
        if waiting is not None:
            await self._wait_for_reader(waiting, is_end=data.endswith(_DONE))

    async def _wait_for_reader(self, waiting: Awaitable[None], *, is_end: bool) -> None:
        """While the caller takes its time the provider is not late: it is held back by not reading from it. Once all is
        written no limit makes the answer a broken one.
        """
        self._record.is_complete = is_end
        self._watchdog.pause()
        await waiting
        self._watchdog.touch()

    def _judge(self, error: ProviderError, exchange: Exchange | None = None) -> None:
        """Tell the breaker what failed, once."""
        record, ticket = self._record, self._ticket
        if not ticket or record.is_complete:
            return
        self._ticket = 0
        taken_s = self._clock() - record.started
        # An answer that comes may take longer than there is time, and a caller may have less than is usual.
        is_own_time = not self._limits.is_shortened and record.ttft_s is None and taken_s >= self._ttft_s
        self._guard.record(
            record.deployment,
            breaker_verdict(error, is_own_time=is_own_time),
            ticket=ticket,
            duration_s=taken_s,
            retry_after_s=error.retry_after_s,
            headers=None if exchange is None else exchange.headers,
        )

    def _settle(self) -> None:
        """What the attempt used and cost, also when cut short: synchronous, so that no cancellation can skip it."""
        record = self._record
        if record.usage is None and self._is_sent and (record.kind is None or _is_paid_for(record)):
            # The caller left while we were waiting, our limit passed, or the answer broke: the prompt was read.
            record.usage = Usage(input=self._count_input(), is_estimated=True)
        price = record.deployment.price
        if record.usage is not None and price is not None:
            is_tiered = bool(price.service_tiers)
            record.cost_nusd = price.cost_nusd(record.usage, asked_tier(self._request.body) if is_tiered else None)
        if self._is_sent:
            self._tell(record)

    def _count_input(self) -> int:
        """The tokens of the prompt, for a provider that did not tell: closely where a budget pays."""
        request, tab = self._request, self._limits.tab
        return estimate_prompt(request.body) if tab is None else tab.count_input(request, self._target.model)

    def _tell(self, record: Attempt) -> None:
        """What this call says about the deployment, for the choices to come."""
        is_ok = True if record.is_complete else None
        if record.kind is not None:
            is_ok = False if VERDICTS[record.kind].blames else None
        ttft_s = tpot_s = None
        if record.is_complete and record.usage is not None:
            tokens = record.usage.output + record.usage.reasoning
            if self._request.stream and record.ttft_s is not None:
                ttft_s = record.ttft_s
            taken_s = record.ended - record.started - (ttft_s or 0.0)
            # A whole answer does not tell when it began; a short one takes as long as its first token.
            if tokens >= _TELLING_TOKENS:
                tpot_s = taken_s / tokens
            elif ttft_s is None:
                ttft_s = taken_s
        self._latency.ended(record.deployment.id, ttft_s=ttft_s, tpot_s=tpot_s, is_ok=is_ok)


def _is_paid_for(record: Attempt) -> bool:
    """Whether a failed call is on the bill: the provider had begun to answer, or a limit of ours ended the wait."""
    if record.status is None:
        return record.cause in TIMEOUTS
    return 200 <= record.status < 300 and record.cause is not Cause.IN_BAND


async def _until_content(exchange: Exchange, decoder: StreamDecoder) -> tuple[bytes, bool]:
    """Everything up to the first content, and whether the body ended with it. Raises the decoder's error.

    An answer may also be over without any.
    """
    held = b""
    while not decoder.has_content:
        data = await exchange.chunk()
        held += decoder.close() if data is None else decoder.feed(data)
        if decoder.error is not None and not decoder.has_content:
            raise decoder.error
        if data is None or held.endswith(_DONE):
            return held, data is None
    return held, False
