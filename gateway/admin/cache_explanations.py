"""POST /admin/cache/explain: whether a request would be answered from memory, and which guard or score decides."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request

from gateway.admin.access import AdminContext
from gateway.admin.audit import Actor
from gateway.admin.wire import answer_of, read_object
from gateway.caching.question import Question, question_of
from gateway.explain import caller_of
from gateway.explain import question_of as chat_question_of
from gateway.mirror import Nowhere
from gateway.service import Service
from gateway.wire import refusals
from gateway.wire.parse import parse_request
from policies.cache.keying import unfit
from policies.outcome import CacheUse
from providers import lenient_json

_USUAL_ROUTE = "auto"
_ASKED = {"route": "auto", "prompt": "Which city is the capital of Kenya?", "key": "team-a-prod"}
_ANSWER = {
    "object": "cache.explanation",
    "asked": "auto",
    "answered_by": None,
    "decided_by": "guard",
    "semantic": {
        "decided_by": "guard",
        "compared_with": 412,
        "threshold": 4.81,
        "labels": 1_350,
        "candidates": [
            {"entry": "9f2c61d0aa3e4b17", "guard": "name", "is_blocked": False, "cosine": None, "score": None}
        ],
    },
}
_BODY = {"required": True, "content": {"application/json": {"schema": {"type": "object"}, "example": _ASKED}}}


def add_routes(app: FastAPI, context: AdminContext) -> None:
    """Add the endpoint to the control plane."""
    service = context.service

    @app.post(
        "/admin/cache/explain",
        tags=["admin"],
        openapi_extra={"requestBody": _BODY},
        responses={200: answer_of("What this worker's cache would do.", _ANSWER)},
    )
    async def explain_cache(
        request: Request, actor: Annotated[Actor, Depends(context.needs("operator"))]
    ) -> dict[str, Any]:
        """Explain what the cache of this worker would do with a request now: {"prompt" or "messages"}, with "route" or
        "model" and "key" (its name); everything else is part of the chat body. No model is called, but an embedder may
        be. `answered_by` is the tier that has an answer (hit, normalised, semantic); null where a model would be asked.
        """
        found = await _explain(service, await read_object(request))
        await context.done(actor, found["asked"])
        return found


async def _explain(service: Service, given: dict[str, Any]) -> dict[str, Any]:
    """Raises RefusedError."""
    runtime = service.runtime
    usual = _USUAL_ROUTE if _USUAL_ROUTE in runtime.router.plans else None
    asked = chat_question_of(given, usual)
    request = parse_request("chat", lenient_json.dumps(asked.body), "explain")
    caller = caller_of(runtime, asked.key)
    found: dict[str, Any] = {"object": "cache.explanation", "asked": request.model, "answered_by": None}
    if runtime.cache is None:
        return found | {"decided_by": "off"}
    why = unfit(request.operation, request.body)
    if why is not None:
        return found | {"decided_by": why}
    question = question_of(runtime.cache, request, caller, Nowhere(), service.clock(), None, asked.headers)
    if question is None:
        raise refusals.model_not_allowed(request.model)
    use = _in_memory(service, question)
    if use is not None:
        return found | {"answered_by": use, "decided_by": "kept"}
    tier = service.cache.semantic.tier
    if tier is None:
        return found | {"decided_by": "nothing_kept"}
    semantic = await tier.explain(question)
    answered_by = CacheUse.SEMANTIC if semantic["decided_by"] == "served" else None
    return found | {"answered_by": answered_by, "decided_by": semantic["decided_by"], "semantic": semantic}


def _in_memory(service: Service, question: Question) -> CacheUse | None:
    shelf, rules = service.cache.shelf, service.runtime.cache
    if shelf.get(question.key) is not None:
        return CacheUse.HIT
    loose_key = question.find_loose_key() if rules is not None and rules.is_loose else None
    return CacheUse.NORMALISED if loose_key is not None and shelf.get_loose(loose_key) is not None else None
