"""POST /v1/feedback: a score for an answer, or that one from the cache was wrong, by the id of its request."""

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
_OF_HITS = frozenset({"request_id", "wrong_cache_hit"})


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
        content_type = headers.get(b"content-type", b"application/json")
        if not content_type.lower().startswith(b"application/json"):
            raise refusals.wrong_content_type(content_type.decode("latin-1"))
        body = _object(await _read(receive, headers))
        if "wrong_cache_hit" in body:
            told = await _tell_wrong(service, caller, body)
        elif runtime.feedback is None:
            raise refusals.feedback_off()
        else:
            given = _parse(body)
            model = await _record(service, runtime.feedback, caller, given)
            told = {"request_id": given.request_id, "model": model, "score": given.score}
    except refusals.RefusedError as error:
        service.recorder.refused("feedback", request_id, error)
        await send_refusal(send, error, request_id)
        return
    except http.ClientGoneError:
        return
    head = [answers.JSON, (b"x-request-id", request_id.encode()), (b"cache-control", b"no-store")]
    await http.send_whole(send, 200, head, orjson.dumps({"object": "feedback"} | told))


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


async def _tell_wrong(service: Service, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
    """The answer that the caller got to another question goes, and the cache learns. Raises RefusedError."""
    _check_names(body, _OF_HITS)
    request_id = _request_id(body)
    if body["wrong_cache_hit"] is not True:
        raise refusals.invalid_field("wrong_cache_hit", "'wrong_cache_hit' can be true only.")
    entry = await service.cache.tell_wrong(caller.name, request_id)
    if entry is None:
        raise refusals.unknown_request(request_id)
    service.recorder.logger.info("wrong cache hit", request_id=request_id, caller=caller.name, entry=entry)
    return {"request_id": request_id, "wrong_cache_hit": True, "entry": entry}


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise refusals.bad_json(str(error)) from None
    if not isinstance(body, dict):
        raise refusals.bad_json("it is another JSON value")
    return body


def _check_names(body: dict[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(body.keys() - known)
    if unknown:
        raise refusals.invalid_field(unknown[0][:128], f"Feedback has no field '{unknown[0][:128]}'.")


def _request_id(body: dict[str, Any]) -> str:
    request_id = body.get("request_id")
    if request_id is None:
        raise refusals.invalid_field("request_id", "'request_id' is missing.", missing=True)
    if not isinstance(request_id, str):
        raise refusals.invalid_field("request_id", "'request_id' has to be a string.")
    return request_id


def _parse(body: dict[str, Any]) -> _Given:
    """Raises RefusedError that names the field."""
    _check_names(body, _KEYS)
    request_id, model = _request_id(body), body.get("model")
    if body.get("score") is None:
        raise refusals.invalid_field("score", "'score' is missing.", missing=True)
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
    "Score an answer by its request id, or tell that one from the cache was wrong.",
    _handle,
)
