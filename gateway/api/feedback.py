"""POST /v1/feedback: a score for an answer, by the id of its request."""

import asyncio
from dataclasses import dataclass
from math import isfinite
from typing import Any

import orjson

from gateway.api.endpoint import Endpoint
from gateway.api.exchange import request_id_of, send_refusal
from gateway.auth import ANONYMOUS, authenticate, refuse_admin_key
from gateway.feedback.book import FeedbackBook, UnknownAnswerError, UnknownRequestError
from gateway.runtime import Caller
from gateway.service import Service
from gateway.wire import answers, http, refusals
from gateway.wire.http import Receive, Scope, Send

_MAX_BYTES = 16 * 1024
_BODY_S = 30.0
# A stream is over for its reader a moment before it is for us; a program may score it in between.
_SETTLING_S = 0.2
_KEYS = frozenset({"request_id", "score", "model"})


@dataclass(slots=True, frozen=True)
class _Given:
    request_id: str
    score: float
    model: str | None


async def _handle(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    headers = dict(scope["headers"])
    request_id = request_id_of(service, headers)
    runtime = service.runtime
    try:
        caller = authenticate(headers, runtime.keys)
        if caller is ANONYMOUS:
            refuse_admin_key(headers, service.settings, runtime.ring.admins)
        if runtime.feedback is None:
            raise refusals.feedback_off()
        content_type = headers.get(b"content-type", b"application/json")
        if not content_type.lower().startswith(b"application/json"):
            raise refusals.wrong_content_type(content_type.decode("latin-1"))
        given = _parse(await _read(receive, headers))
        model = await _record(service, runtime.feedback, caller, given)
    except refusals.RefusedError as error:
        service.recorder.refused("feedback", request_id, error)
        await send_refusal(send, error, request_id)
        return
    except http.ClientGoneError:
        return
    body = {"object": "feedback", "request_id": given.request_id, "model": model, "score": given.score}
    head = [answers.JSON, (b"x-request-id", request_id.encode()), (b"cache-control", b"no-store")]
    await http.send_whole(send, 200, head, orjson.dumps(body))


async def _read(receive: Receive, headers: dict[bytes, bytes]) -> bytes:
    try:
        async with asyncio.timeout(_BODY_S):
            return await http.read_body(receive, headers, _MAX_BYTES)
    except TimeoutError:
        raise refusals.too_slow("body", _BODY_S) from None


async def _record(service: Service, book: FeedbackBook, caller: Caller, given: _Given) -> str:
    """The public name of the scored model, once the row is written. Raises RefusedError."""
    try:
        try:
            model, written = book.score(caller.name, given.request_id, given.score, given.model)
        except UnknownRequestError:
            await asyncio.sleep(_SETTLING_S)
            model, written = book.score(caller.name, given.request_id, given.score, given.model)
        await asyncio.shield(asyncio.wrap_future(written))  # a client that leaves takes no score back
    except UnknownRequestError:
        raise refusals.unknown_request(given.request_id) from None
    except UnknownAnswerError as error:
        message = f"That request was not answered by '{given.model}', but by {' and '.join(map(repr, error.models))}."
        raise refusals.invalid_field("model", message) from None
    except OSError:
        raise refusals.feedback_lost() from None
    service.recorder.logger.info(
        "feedback", request_id=given.request_id, caller=caller.name, model=model, score=given.score
    )
    return model


def _parse(raw: bytes) -> _Given:
    """Raises RefusedError that names the field."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise refusals.bad_json(str(error)) from None
    if not isinstance(body, dict):
        raise refusals.bad_json("it is another JSON value")
    unknown = sorted(body.keys() - _KEYS)
    if unknown:
        raise refusals.invalid_field(unknown[0][:128], f"Feedback has no field '{unknown[0][:128]}'.")
    for name in ("request_id", "score"):
        if body.get(name) is None:
            raise refusals.invalid_field(name, f"'{name}' is missing.", missing=True)
    request_id, model = body["request_id"], body.get("model")
    if not isinstance(request_id, str):
        raise refusals.invalid_field("request_id", "'request_id' has to be a string.")
    if not isinstance(model, str | None):
        raise refusals.invalid_field("model", "'model' has to be a string.")
    return _Given(request_id, _score(body["score"]), model)


def _score(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not isfinite(value) or not 0 <= value <= 1:
        raise refusals.invalid_field("score", "'score' has to be a number from 0 (useless) to 1 (perfect).")
    return float(value)


ENDPOINT = Endpoint(
    ("/v1/feedback", "/feedback"),
    ("POST",),
    "caller",
    "Score an answer by its request id, for training.",
    _handle,
)
