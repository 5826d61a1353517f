"""POST /admin/explain: why the running gateway would send a request where it would, with all it has seen of traffic."""

from typing import Annotated, Any

import orjson
from fastapi import Depends, FastAPI, Request, Response

from gateway.admin.access import AdminContext
from gateway.admin.audit import Actor
from gateway.explain import explain, object_in, question_of
from gateway.wire import answers, http, refusals

_USUAL_ROUTE = "auto"
_QUESTION = {
    "route": "auto",
    "prompt": "Prove that there are infinitely many primes.",
    "tags": ["application=homework"],
    "key": "team-a-prod",
}
_ANSWER = {
    "model": "claude-sonnet",
    "route": "auto",
    "strategy": "complexity",
    "score": 0.64,
    "tier": "complex",
    "confidence": 0.83,
    "task_type": "maths",
    "quality": {"claude-sonnet": 0.74},
    "candidates": [
        {"model": "claude-sonnet", "deployment": "anthropic/claude-sonnet-4-5", "quality": 0.74, "cost_usd": 0.0046}
    ],
    "rejections": [{"model": "llama-small", "deployment": "local/llama3.2:3b", "reason": "context_window"}],
    "rule": None,
    "features": {"demanding_words": 0.69, "language": "en"},
}
_REQUEST_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"type": "object"}, "example": _QUESTION}},
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The explanation (shortened here).", "content": {"application/json": {"example": _ANSWER}}},
    400: {"description": "The question cannot be understood; an error as on the data plane."},
}


def add_routes(app: FastAPI, context: AdminContext) -> None:
    """Add the endpoint to the control plane."""
    service = context.service

    @app.post(
        "/admin/explain",
        tags=["admin"],
        response_class=Response,
        responses=_RESPONSES,
        openapi_extra={"requestBody": _REQUEST_BODY},
    )
    async def explain_decision(
        request: Request, actor: Annotated[Actor, Depends(context.needs("operator"))]
    ) -> Response:
        """Explain what would be decided now, without a call: {"prompt" or "messages"}, with "route" or "model", and
        where wanted "headers", "tags", "application" and "key" (its name); everything else is part of the chat body.
        """
        runtime = service.runtime
        try:
            raw = await http.read_body(request.receive, dict(request.headers.raw), runtime.max_body_bytes)
            name = _USUAL_ROUTE if _USUAL_ROUTE in runtime.router.plans else None
            found = explain(runtime, question_of(object_in(raw), name), service.wall_clock())
        except refusals.RefusedError as error:
            refusal = error.refusal
            return Response(answers.refusal_body(refusal), refusal.status, media_type="application/json")
        except http.ClientGoneError:
            return Response(status_code=400)
        await context.done(actor, found["asked"])
        return Response(orjson.dumps(found), media_type="application/json")
