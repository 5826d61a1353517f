"""What the modules of the control plane share on the wire: bodies, pages and entity tags."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from gateway.admin.access import AdminError
from gateway.wire import http, refusals

MAX_PAGE = 1_000
_MAX_BODY_BYTES = 256 * 1024


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object of the body; an empty body is an empty object. Raises AdminError (400), RefusedError (413).

    Read by hand and not by FastAPI, which would parse it before it asks who is there.
    """
    try:
        raw = await http.read_body(request.receive, dict(request.headers.raw), _MAX_BODY_BYTES)
    except http.ClientGoneError:
        raise AdminError(400, "invalid_body", "The body did not arrive.") from None
    try:
        found = orjson.loads(raw) if raw.strip() else {}
    except orjson.JSONDecodeError as error:
        raise refusals.bad_json(str(error)) from None
    if not isinstance(found, dict):
        raise AdminError(400, "invalid_body", "The body has to be a JSON object.")
    return found


def invalid(error: ValidationError) -> AdminError:
    """What is wrong with a body, by its first mistake."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return AdminError(
        400, "invalid_parameter", f"'{where}': {message}." if where else f"{message}.", param=where or None
    )


def body_of(model: type[BaseModel], example: Mapping[str, Any], *, optional: Sequence[str] = ()) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes such a body; members in `optional` may be left out here."""
    schema = model.model_json_schema()
    schema["required"] = [name for name in schema.get("required", ()) if name not in optional]
    content = {"schema": schema, "example": example}
    return {"requestBody": {"required": bool(schema["required"]), "content": {"application/json": content}}}


def answer_of(description: str, example: Any) -> dict[str, Any]:
    """An entry of a route's `responses`."""
    return {"description": description, "content": {"application/json": {"example": example}}}


def page_of(entries: Sequence[dict[str, Any]], after: str | int | None, *, has_more: bool) -> dict[str, Any]:
    """A page of a list. `after` is what the next page is asked for with, where there is one."""
    return {"object": "list", "data": entries, "has_more": has_more, "next": after if has_more else None}


def etag_of(state: bytes) -> str:
    """The entity tag of a resource, of the bytes that are its state."""
    return f'"{hashlib.sha256(state).hexdigest()[:24]}"'


def check_match(request: Request, etag: str) -> None:
    """Raises AdminError (412) where the request has If-Match and means another state."""
    asked = request.headers.get("if-match")
    if asked is None:
        return
    tags = [tag.strip() for tag in asked.split(",")]
    if "*" not in tags and etag not in tags:
        raise AdminError(
            412,
            "precondition_failed",
            f"It has changed: its ETag is now {etag}. Read it again before you change it.",
        )
