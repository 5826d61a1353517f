"""GET /v1/models and /v1/models/{id}: what this caller may ask for. Ids may hold slashes."""

from typing import Any

import orjson

from gateway.api.endpoint import Endpoint
from gateway.api.exchange import request_id_of, send_refusal
from gateway.auth import ANONYMOUS, authenticate, refuse_admin_key
from gateway.runtime import ListedModel
from gateway.service import Service
from gateway.wire import answers, http, refusals
from gateway.wire.http import Receive, Scope, Send
from routing.router import UnknownModelError

_PREFIXES = ("/v1/models", "/models")


async def _handle(service: Service, scope: Scope, _receive: Receive, send: Send) -> None:
    headers = dict(scope["headers"])
    request_id = request_id_of(service, headers)
    runtime = service.runtime
    try:
        caller = authenticate(headers, runtime.keys)
        if caller is ANONYMOUS:
            refuse_admin_key(headers, service.settings, runtime.ring.admins)
        name = _model_in(scope["path"])
        allowed = [model for model in runtime.models.values() if caller.may_use(model.id)]
        is_anthropic = b"anthropic-version" in headers
        if name is None:
            body = _anthropic_list(allowed) if is_anthropic else _openai_list(allowed)
        else:
            if not caller.may_use(name):
                raise refusals.model_not_allowed(name)
            model = runtime.models.get(name) or _direct_model(service, name)
            body = _anthropic_view(model) if is_anthropic else _openai_view(model)
    except refusals.RefusedError as error:
        service.recorder.refused("models", request_id, error)
        await send_refusal(send, error, request_id)
        return
    head = [answers.JSON, (b"x-request-id", request_id.encode()), (b"cache-control", b"no-store")]
    await http.send_whole(send, 200, head, orjson.dumps(body))


def _model_in(path: str) -> str | None:
    for prefix in _PREFIXES:
        if path.startswith(prefix):
            return path[len(prefix) :].strip("/") or None
    return None


def _direct_model(service: Service, name: str) -> ListedModel:
    """A `provider/model` name is not listed, but it can be asked for, so it can be looked up as well."""
    try:
        plan = service.runtime.router.find(name)
    except UnknownModelError as error:
        raise refusals.unknown_model(error.name, error.near) from None
    return ListedModel(name, next(plan.deployments()).provider, 0)


def _openai_view(model: ListedModel) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by}


def _openai_list(models: list[ListedModel]) -> dict[str, Any]:
    return {"object": "list", "data": [_openai_view(model) for model in models]}


def _anthropic_view(model: ListedModel) -> dict[str, Any]:
    # Anthropic clients say who they are by this header and expect their own shape:
    # https://docs.claude.com/en/api/models-list
    return {"type": "model", "id": model.id, "display_name": model.id, "created_at": "1970-01-01T00:00:00Z"}


def _anthropic_list(models: list[ListedModel]) -> dict[str, Any]:
    data = [_anthropic_view(model) for model in models]
    return {
        "data": data,
        "has_more": False,
        "first_id": models[0].id if models else None,
        "last_id": models[-1].id if models else None,
    }


ENDPOINT = Endpoint(
    ("/v1/models", "/v1/models/*", "/models", "/models/*"),
    ("GET",),
    "caller",
    "List the models and routes this key may use, or show one.",
    _handle,
)
