"""GET /admin/audit: who did what."""

from typing import Annotated

from fastapi import Depends, FastAPI, Query
from fastapi.responses import JSONResponse

from gateway.admin.access import AdminContext
from gateway.admin.audit import Actor
from gateway.admin.wire import MAX_PAGE, answer_of, page_of

_ENTRY = {
    "time": "2026-08-01T09:00:00.000Z",
    "admin": "ada",
    "role": "operator",
    "action": "disable_key",
    "target": "team-a-prod",
    "from": "10.0.0.7",
    "outcome": "done",
    "before": {"name": "team-a-prod", "disabled": False},
    "after": {"name": "team-a-prod", "disabled": True},
}


def add_routes(app: FastAPI, context: AdminContext) -> None:
    """Add the endpoint to the control plane."""
    page = answer_of("A page of entries (shortened here).", page_of([_ENTRY], 48_213, has_more=True))

    @app.get("/admin/audit", tags=["admin"], responses={200: page})
    async def list_audit(
        _: Annotated[Actor, Depends(context.needs("admin"))],
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Entries on this page at most.")] = 100,
        after: Annotated[int | None, Query(ge=0, description="`next` of the page before.")] = None,
    ) -> JSONResponse:
        """What was done and refused in the control plane, newest first."""
        found = await context.audit.page(limit, after)
        return JSONResponse(page_of(found.entries, found.next, has_more=found.next is not None))
