"""What chat, completions and embeddings share: authenticate, read, parse, run the pipeline, answer."""

import asyncio
import re
from collections.abc import Awaitable

from gateway.admission import Gate, ShedReason
from gateway.auth import ANONYMOUS, authenticate, refuse_admin_key
from gateway.runtime import Caller
from gateway.service import Service
from gateway.uploads import Upload
from gateway.wire import answers, http, refusals
from gateway.wire.http import CHANNEL, Channel, Receive, Scope, Send
from gateway.wire.parse import decompress, parse_request
from policies.outcome import Outcome
from providers.base import ErrorKind, Operation, ProviderError

_BODY_S = 60.0  # for a body to arrive
_BODY_STALL_S = 10.0  # for the next byte of it
_LARGE_BYTES = 1024 * 1024  # of a whole answer: such a one keeps its place until the network has taken it
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:/+=-]{1,128}")


async def serve_exchange(service: Service, operation: Operation, scope: Scope, receive: Receive, send: Send) -> None:
    """One model call from head to last byte."""
    started = service.clock()
    headers = dict(scope["headers"])
    headers = headers if len(headers) == len(scope["headers"]) else http.with_lists_joined(scope["headers"])
    request_id = request_id_of(service, headers)
    pipeline = service.pipeline
    service.in_flight += 1
    # Taken out: the channel has the scope, and a ring of the two would wait for the garbage collector.
    channel: Channel = scope.pop(CHANNEL)
    responder = _Responder(service, channel)
    gate, place = service.gate, None
    try:
        caller = authenticate(headers, pipeline.runtime.keys)
        if caller is ANONYMOUS:
            refuse_admin_key(headers, service.settings, pipeline.runtime.ring.admins)
        timeout_s = _timeout_s(headers) if b"x-signalbox-timeout-ms" in headers else None
        _check_content_type(headers)
        limit = pipeline.runtime.max_body_bytes
        raw = channel.take_body()
        if raw is not None and len(raw) <= limit and gate.in_flight < gate.open_below:
            gate.in_flight += 1  # see Gate: this is what `enter` would do
            gate.held[caller.name] += 1
        else:
            raw = await _enter_slowly(raw, receive, headers, limit, gate, caller, timeout_s)
        place = caller.name
        if b"content-encoding" in headers:
            raw = _unpack(raw, headers, limit)
        request = parse_request(operation, raw, request_id, caller.default_model)
        outcome = await pipeline.answer(request, caller, responder, started, timeout_s, headers)
        unread = responder.finish(outcome)
        if unread is not None:
            await unread
    except refusals.RefusedError as error:
        service.recorder.refused(operation, request_id, error)
        await send_refusal(send, error, request_id)
    except http.ClientGoneError:
        return
    except asyncio.CancelledError:
        # The server ends the task of a request whose connection is lost: nobody is left to answer. Where somebody is,
        # the time to finish before the process ends is over.
        responder.cut_short(request_id)
    except Exception as error:  # a fault of ours must not leave the client without an answer
        service.recorder.crashed(operation, request_id, error)
        responder.give_up(refusals.internal(request_id), request_id)
    finally:
        service.in_flight -= 1
        if place is not None:
            gate.leave(place)


def request_id_of(service: Service, headers: dict[bytes, bytes]) -> str:
    """The client's own id where it is harmless text, else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    return service.new_request_id()


async def send_refusal(send: Send, error: refusals.RefusedError, request_id: str) -> None:
    """Our own "no" as a whole answer."""
    refusal = error.refusal
    await http.send_whole(
        send, refusal.status, answers.refusal_headers(refusal, request_id), answers.refusal_body(refusal)
    )


async def _enter_slowly(
    raw: bytes | None,
    receive: Receive,
    headers: dict[bytes, bytes],
    limit: int,
    gate: Gate,
    caller: Caller,
    timeout_s: float | None,
) -> bytes:
    """The whole body, and a place for it. The place comes second: a body that never ends holds none."""
    if raw is not None:
        if len(raw) > limit:
            raise refusals.body_too_large(limit)
        await gate.enter(caller.name, is_priority=caller.is_priority, timeout_s=timeout_s)
        return raw
    with gate.receive(caller.name, is_priority=caller.is_priority) as upload:
        raw = await _read_slowly(receive, headers, limit, gate, upload)
        upload.arrived()
        if gate.in_flight < gate.open_below:
            gate.in_flight += 1
            gate.held[caller.name] += 1
        else:
            await gate.enter(caller.name, is_priority=caller.is_priority, timeout_s=timeout_s)
    return raw


async def _read_slowly(receive: Receive, headers: dict[bytes, bytes], limit: int, gate: Gate, upload: Upload) -> bytes:
    loop = asyncio.get_running_loop()
    last_s = loop.time() + _BODY_S
    if b"content-length" not in headers:
        receive = upload.in_turn(receive)
    try:
        async with asyncio.timeout_at(min(last_s, loop.time() + _BODY_STALL_S)) as clock:

            def note(size: int) -> None:
                if not upload.grow(size):
                    raise gate.refused(ShedReason.BODIES)
                clock.reschedule(min(last_s, loop.time() + _BODY_STALL_S))

            return await http.read_body(receive, headers, limit, note)
    except TimeoutError:
        if upload.is_waiting:
            raise gate.refused(ShedReason.BODIES) from None
        is_late = loop.time() >= last_s
        raise refusals.too_slow("body" if is_late else "next byte", _BODY_S if is_late else _BODY_STALL_S) from None


def _unpack(raw: bytes, headers: dict[bytes, bytes], limit: int) -> bytes:
    encoding = headers[b"content-encoding"]
    return raw if encoding == b"identity" else decompress(raw, encoding.decode("latin-1"), limit)


def _check_content_type(headers: dict[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type")
    if content_type is not None and not content_type.lower().startswith(b"application/json"):
        raise refusals.wrong_content_type(content_type.decode("latin-1"))


def _timeout_s(headers: dict[bytes, bytes]) -> float:
    text = headers[b"x-signalbox-timeout-ms"]
    if not text.isdigit() or not int(text[:12]) > 0:
        raise refusals.invalid_header("x-signalbox-timeout-ms", "has to be a positive whole number of milliseconds.")
    return int(text[:12]) / 1000


class _Responder:
    """The HTTP side of one exchange: the pipeline's Sink for streams, and the whole answer otherwise."""

    __slots__ = ("_channel", "_is_over", "_outcome", "_service", "write")

    def __init__(self, service: Service, channel: Channel) -> None:
        self._service = service
        self._channel = channel
        self._is_over = False
        self._outcome: Outcome | None = None
        self.write = channel.push

    def start(self, outcome: Outcome) -> None:
        head = answers.answer_head(outcome, self._service.clock(), None)
        self._outcome = outcome  # from here on the answer is a stream
        self._channel.begin(200, head)

    def end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._channel.end()

    def finish(self, outcome: Outcome) -> Awaitable[None] | None:
        """Send what the pipeline did not stream: the reply, the refusal, or the end of the body.

        Returns something to wait for where a large answer is not read yet: until then it is in our memory.
        """
        if self._outcome is not None:
            self.end()
            return None
        refusal, now = outcome.refusal, self._service.clock()
        if refusal is not None:
            status, body = refusal.status, answers.refusal_body(refusal)
            head = answers.failure_head(outcome, refusal, now, len(body))
        elif outcome.reply is not None:
            status, body = 200, outcome.reply.body
            head = answers.answer_head(outcome, now, len(body))
        else:
            raise RuntimeError("the pipeline ended without a reply or a refusal")
        self._is_over = True
        self._channel.answer(status, head, body)
        return self._channel.unread() if len(body) > _LARGE_BYTES else None

    def cut_short(self, request_id: str) -> None:
        """The process ends, or the client has left."""
        if self._channel.is_open:
            self.give_up(refusals.shutting_down(), request_id)

    def give_up(self, error: refusals.RefusedError, request_id: str) -> None:
        """End what cannot be finished: as an answer of its own, or as the last event of the stream that began."""
        if self._is_over:
            return
        self._is_over = True
        refusal = error.refusal
        body = answers.refusal_body(refusal)
        if self._outcome is not None:
            frame = b""
            # A stream that was interrupted has had its word, and waited for a client to take it.
            if self._outcome.ending != "interrupted":
                frame = answers.error_frame(ProviderError(ErrorKind.LOCAL, refusal.error["message"]))
            self._channel.end(frame)
            return
        headers = [*answers.refusal_headers(refusal, request_id), (b"content-length", b"%d" % len(body))]
        self._channel.answer(refusal.status, b"".join(b"%b: %b\r\n" % header for header in headers), body)
