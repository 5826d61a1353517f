"""What chat, completions and embeddings share: authenticate, read, parse, run the pipeline, answer."""

import asyncio
import re

from gateway.auth import ANONYMOUS, authenticate, refuse_admin_key
from gateway.service import Service
from gateway.wire import answers, http, refusals
from gateway.wire.http import CHANNEL, Channel, Receive, Scope, Send
from gateway.wire.parse import decompress, parse_request
from policies.outcome import Outcome
from providers.base import ErrorKind, Operation, ProviderError

_BODY_S = 60.0  # for a body to arrive
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:/+=-]{1,128}")


async def serve_exchange(service: Service, operation: Operation, scope: Scope, receive: Receive, send: Send) -> None:
    """One model call from head to last byte."""
    started = service.clock()
    headers = dict(scope["headers"])
    request_id = request_id_of(service, headers)
    pipeline = service.pipeline
    service.in_flight += 1
    channel: Channel = scope[CHANNEL]
    responder = _Responder(service, channel)
    gate, place = service.gate, None
    try:
        caller = authenticate(headers, pipeline.runtime.keys)
        if caller is ANONYMOUS:
            refuse_admin_key(headers, service.settings, pipeline.runtime.ring.admins)
        timeout_s = _timeout_s(headers) if b"x-signalbox-timeout-ms" in headers else None
        _check_content_type(headers)
        if gate.in_flight < gate.open_below:  # see Gate: this is what `enter` would do
            gate.in_flight += 1
            gate.held[caller.name] += 1
        else:
            await gate.enter(caller.name, is_priority=caller.is_priority, timeout_s=timeout_s)
        place = caller.name
        limit = pipeline.runtime.max_body_bytes
        raw = channel.take_body()
        if raw is None or len(raw) > limit or b"content-encoding" in headers:
            raw = await _read_unusual(raw, receive, headers, limit)
        request = parse_request(operation, raw, request_id, caller.default_model)
        outcome = await pipeline.run(request, caller, responder, started, timeout_s, headers)
        responder.finish(outcome)
    except refusals.RefusedError as error:
        service.recorder.refused(operation, request_id, error)
        await send_refusal(send, error, request_id)
    except http.ClientGoneError:
        return
    except asyncio.CancelledError:
        # The server ends the task of a request whose connection is lost: nobody is left to answer. Where somebody is,
        # the time to finish before the process ends is over.
        if channel.is_open:
            responder.give_up(refusals.shutting_down(), request_id)
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


async def _read_unusual(raw: bytes | None, receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    """The body where it is not all here yet, too large, or packed."""
    if raw is None:
        raw = await _read_slowly(receive, headers, limit)
    elif len(raw) > limit:
        raise refusals.body_too_large(limit)
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raw = decompress(raw, headers[b"content-encoding"].decode("latin-1"), limit)
    return raw


async def _read_slowly(receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    try:
        async with asyncio.timeout(_BODY_S):
            return await http.read_body(receive, headers, limit)
    except TimeoutError:
        raise refusals.too_slow("body", _BODY_S) from None


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

    def finish(self, outcome: Outcome) -> None:
        """Send what the pipeline did not stream: the reply, the refusal, or the end of the body."""
        if self._outcome is not None:
            self.end()
            return
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
            if self._outcome.ending not in ("ok", "interrupted"):
                frame = answers.error_frame(ProviderError(ErrorKind.LOCAL, refusal.error["message"]))
            self._channel.end(frame)
            return
        headers = [*answers.refusal_headers(refusal, request_id), (b"content-length", b"%d" % len(body))]
        self._channel.answer(refusal.status, b"".join(b"%b: %b\r\n" % header for header in headers), body)
