"""/admin/keys: virtual keys, those of the configuration file to look at, those made at run time to change as well."""

from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse

from config.schema_keys import KeyConfig
from gateway.admin.access import AdminContext
from gateway.admin.audit import Actor
from gateway.admin.key_desk import KeyDesk, Rotation
from gateway.admin.wire import MAX_PAGE, answer_of, body_of, page_of, read_object

_EXAMPLE = {
    "object": "key",
    "name": "team-a-prod",
    "state": "active",
    "source": "created",
    "prefix": "sb-9Xc1aB",
    "created": "2026-08-01T09:00:00Z",
    "expires": "2027-08-01T00:00:00Z",
    "previous_until": None,
    "team": "team-a",
    "budget": "team-a",
    "limits": None,
    "models": ["auto", "frugal"],
    "candidates": None,
    "default_model": "auto",
    "tags": ["application=shop"],
    "metadata": {"owner": "ada"},
    "disabled": False,
    "priority": False,
}
_ASKED = {name: _EXAMPLE[name] for name in ("name", "team", "models", "default_model", "tags", "metadata", "expires")}
_KEY = answer_of("The key. Its ETag can be sent as If-Match with a change.", _EXAMPLE)
_MADE = answer_of("The key with its secret, which is shown this once.", _EXAMPLE | {"secret": "sb-9Xc1aB..."})
_ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such key."},
    409: {"description": "It is in the configuration file, or somebody else has just changed it."},
    412: {"description": "It is not in the state that If-Match names."},
    503: {"description": "The store of keys cannot be reached."},
}


def add_routes(app: FastAPI, context: AdminContext) -> None:
    """Add the endpoints to the control plane."""
    desk = KeyDesk(context)
    _add_reading(app, context, desk)
    _add_making(app, context, desk)
    _add_changing(app, context, desk)


def _add_reading(app: FastAPI, context: AdminContext, desk: KeyDesk) -> None:
    page = answer_of("A page of keys.", page_of([_EXAMPLE], "team-a-prod", has_more=True))

    @app.get("/admin/keys", tags=["keys"], responses={200: page})
    async def list_keys(
        _: Annotated[Actor, Depends(context.needs("viewer"))],
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Keys on this page at most.")] = 100,
        after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
        team: Annotated[str | None, Query(description="Keys of this team only.")] = None,
        state: Annotated[Literal["active", "disabled", "expired"] | None, Query()] = None,
        source: Annotated[Literal["config", "created"] | None, Query()] = None,
    ) -> JSONResponse:
        """All keys by name, those of the configuration file too, without their secrets."""
        asked = {"team": team, "state": state, "source": source}
        wanted = {name: value for name, value in asked.items() if value is not None}
        found = [one for one in await desk.views() if wanted.items() <= {name: one[name] for name in wanted}.items()]
        rest = [one for one in found if after is None or one["name"] > after]
        shown = rest[:limit]
        return JSONResponse(page_of(shown, shown[-1]["name"] if shown else None, has_more=len(rest) > limit))

    @app.get("/admin/keys/{name:path}", tags=["keys"], responses={200: _KEY, 404: _ERRORS[404]})
    async def show_key(name: str, _: Annotated[Actor, Depends(context.needs("viewer"))]) -> JSONResponse:
        """One key."""
        return desk.answer(*await desk.find(name))


def _add_making(app: FastAPI, context: AdminContext, desk: KeyDesk) -> None:
    taken = {"description": "There is a key of this name, or with this secret."}

    @app.post(
        "/admin/keys",
        tags=["keys"],
        status_code=201,
        responses={201: _MADE, 409: taken, 503: _ERRORS[503]},
        openapi_extra=body_of(KeyConfig, _ASKED, optional=("sha256",)),
    )
    async def create_key(request: Request, actor: Annotated[Actor, Depends(context.needs("admin"))]) -> JSONResponse:
        """Make a key, valid at once, and within a second in all workers and replicas. With `sha256` its secret is one
        of your own.
        """
        return await desk.create(actor, await read_object(request))

    @app.post(
        "/admin/keys/{name:path}/rotate",
        tags=["keys"],
        responses={200: _MADE, **_ERRORS},
        openapi_extra=body_of(Rotation, {"overlap_s": 86_400}),
    )
    async def rotate_key(
        name: str, request: Request, actor: Annotated[Actor, Depends(context.needs("admin"))]
    ) -> JSONResponse:
        """A new secret for a key. The old one ends now, or after `overlap_s` seconds."""
        return await desk.rotate(actor, name, request, await read_object(request))


def _add_changing(app: FastAPI, context: AdminContext, desk: KeyDesk) -> None:
    @app.post("/admin/keys/{name:path}/disable", tags=["keys"], responses={200: _KEY, **_ERRORS})
    async def disable_key(
        name: str, request: Request, actor: Annotated[Actor, Depends(context.needs("operator"))]
    ) -> JSONResponse:
        """Refuse a key from now on. Requests under way end as they began."""
        return await desk.change(actor, name, request, {"disabled": True})

    @app.post("/admin/keys/{name:path}/enable", tags=["keys"], responses={200: _KEY, **_ERRORS})
    async def enable_key(
        name: str, request: Request, actor: Annotated[Actor, Depends(context.needs("admin"))]
    ) -> JSONResponse:
        """Let a disabled key call again."""
        return await desk.change(actor, name, request, {"disabled": False})

    @app.patch(
        "/admin/keys/{name:path}",
        tags=["keys"],
        responses={200: _KEY, **_ERRORS},
        openapi_extra=body_of(KeyConfig, {"models": ["auto"], "expires": None}, optional=("name", "sha256")),
    )
    async def change_key(
        name: str, request: Request, actor: Annotated[Actor, Depends(context.needs("admin"))]
    ) -> JSONResponse:
        """Change settings of a key; null takes one away. Name and secret stay."""
        return await desk.change(actor, name, request, await read_object(request))

    @app.delete("/admin/keys/{name:path}", tags=["keys"], status_code=204, responses=_ERRORS, response_class=Response)
    async def delete_key(
        name: str, request: Request, actor: Annotated[Actor, Depends(context.needs("admin"))]
    ) -> Response:
        """Remove a key for good."""
        await desk.delete(actor, name, request)
        return Response(status_code=204)
