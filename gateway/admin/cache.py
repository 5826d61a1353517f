"""/admin/cache: what is kept, and how it is forgotten."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError

from gateway.admin.access import AdminContext, AdminError
from gateway.admin.audit import Actor
from gateway.admin.wire import answer_of, body_of, invalid, read_object
from gateway.caching.keeper import UntoldPurgeError
from gateway.caching.semantic.keeper import SemanticKeeper
from gateway.wire.answers import usd
from policies.cache.purge import Purge

if TYPE_CHECKING:
    from gateway.caching.shared import RedisAnswers

_STATS = {
    "object": "cache",
    "is_on": True,
    "entries": 1_204,
    "bytes": 3_411_020,
    "max_bytes": 67_108_864,
    "evicted": 0,
    "uses": 8_112,
    "saved_usd": "4.02",
    "models": {"auto": 1_100, "gpt-5-mini": 104},
    "redis": {"is_up": True, "lookups": {"hit": 71, "miss": 1_204}, "written": 1_204, "dropped": 0},
    "semantic": {
        "entries": 1_100,
        "namespaces": 4,
        "serving": 2,
        "labels": 5_210,
        "hits": 3_904,
        "routes": {"auto": {"checked": 118, "wrong": 0, "wrong_ratio": 0.0, "wrong_ratio_upper": 0.0137}},
    },
}
_PURGED = {"object": "cache.purge", "purged": 12, "replicas_told": None}
_TELL_S = 1.0


class PurgeRequest(BaseModel, extra="forbid"):
    """Which answers to forget: those that meet everything that is named here, all of them with `{"all": true}`."""

    entry: str | None = Field(default=None, description="The id in the header x-signalbox-cache-entry of a hit.")
    key: str | None = Field(
        default=None,
        description="The virtual key that they were made for, by name. What others of its group made stays.",
    )
    model: str | None = Field(default=None, description="The model or route that was asked for.")
    tag: str | None = Field(default=None, description="A tag of the request or its key.")
    all: bool = Field(default=False, strict=True, description="Every answer.")


def add_routes(app: FastAPI, context: AdminContext) -> None:
    """Add the endpoints to the control plane."""

    @app.get("/admin/cache", tags=["admin"], responses={200: answer_of("What this worker keeps.", _STATS)})
    async def show_cache(_: Annotated[Actor, Depends(context.needs("viewer"))]) -> JSONResponse:
        """How many answers this worker keeps, their size, and what they saved since they were made."""
        rules, shelf = context.service.runtime.cache, context.service.cache.shelf
        entries = list(shelf)
        models = Counter(entry.name for entry in entries)
        return JSONResponse(
            {
                "object": "cache",
                "is_on": rules is not None,
                "entries": len(entries),
                "bytes": shelf.size,
                "max_bytes": rules.max_bytes if rules is not None else 0,
                "evicted": shelf.evicted,
                "uses": sum(entry.uses for entry in entries),
                "saved_usd": usd(sum(entry.uses * (entry.cost_nusd or 0) for entry in entries)),
                "models": dict(models.most_common()),
                "redis": _redis_state(context.service.cache.redis),
                "semantic": _semantic_state(context.service.cache.semantic),
            }
        )

    @app.post(
        "/admin/cache/purge",
        tags=["admin"],
        openapi_extra=body_of(PurgeRequest, {"model": "gpt-5-mini"}),
        responses={200: answer_of("How many answers this worker forgot.", _PURGED)},
    )
    async def purge_cache(
        request: Request, actor: Annotated[Actor, Depends(context.needs("operator"))]
    ) -> JSONResponse:
        """Forget answers, in every worker of this machine within a second. Where answers are shared in Redis, all
        gateways forget them; `replicas_told` is false while Redis does not answer, and they are told when it is back.
        """
        purge = _purge_of(await read_object(request))
        cache = context.service.cache
        untold = ""
        try:
            purged = cache.purge(purge)
        except UntoldPurgeError as error:
            purged, untold = error.purged, str(error)
        is_shared = cache.redis is not None and cache.redis.is_on
        is_told = await cache.redis.purges.told(_TELL_S) if cache.redis is not None and is_shared else None
        await context.done(actor, after={"purged": purged} | purge.to_json())
        if untold:
            incomplete = AdminError(503, "purge_incomplete", untold)
            incomplete.is_noted = True
            raise incomplete
        return JSONResponse({"object": "cache.purge", "purged": purged, "replicas_told": is_told})


def _redis_state(answers: "RedisAnswers | None") -> dict[str, Any] | None:
    """What this worker had to do with answers in Redis; None where they are not shared."""
    if answers is None or not answers.is_on:
        return None
    counts = {str(result): answers.lookups[result] for result in sorted(answers.lookups)}
    return {"is_up": answers.is_up, "lookups": counts, "written": answers.written, "dropped": answers.dropped}


def _semantic_state(semantic: SemanticKeeper) -> dict[str, Any] | None:
    """What this worker knows about answers by meaning; None where that is off. Routes are those whose hits were checked
    with a clear result.
    """
    if semantic.tier is None:
        return None
    routes = {
        route: {
            "checked": one.checked,
            "wrong": one.wrong,
            "wrong_ratio": round(one.ratio, 5),
            "wrong_ratio_upper": round(one.upper, 5),
        }
        for route, one in sorted(semantic.measured().items())
    }
    return {**semantic.counts(), "routes": routes}


def _purge_of(body: dict[str, Any]) -> Purge:
    try:
        asked = PurgeRequest.model_validate(body)
    except ValidationError as error:
        raise invalid(error) from None
    named = (asked.entry, asked.key, asked.model, asked.tag)
    if asked.all == any(name is not None for name in named):
        raise AdminError(
            400, "invalid_parameter", "Name what is to be forgotten, or say 'all'; not both and not neither."
        )
    return Purge(asked.entry, None, asked.model, asked.tag, asked.key)
