"""POST /admin/reload: read the configuration file again, in every worker."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from gateway.admin.access import AdminContext
from gateway.admin.audit import Actor


class ReloadResult(BaseModel):
    """What a reload did."""

    status: str = Field(description="'reloaded', 'unchanged' or 'refused'")
    version: str = Field(description="Digest of the configuration in use.")
    diagnostics: list[dict[str, Any]] = Field(description="Every problem found, errors and warnings.")


def add_routes(app: FastAPI, context: AdminContext) -> None:
    """Add the endpoint to the control plane."""

    @app.post("/admin/reload", tags=["admin"], response_model=ReloadResult, responses={409: {"model": ReloadResult}})
    async def reload_configuration(actor: Annotated[Actor, Depends(context.needs("operator"))]) -> JSONResponse:
        """Read the configuration file again. A file with errors is refused and the old configuration stays (409)."""
        before = context.service.runtime.version
        result = await context.reloader.reload("admin")
        context.reloader.tell_other_workers()
        version = context.service.runtime.version
        await context.done(actor, before={"version": before}, after={"version": version, "status": result.status})
        body = {
            "status": result.status,
            "version": version,
            "diagnostics": [diagnostic.to_json() for diagnostic in result.diagnostics],
        }
        return JSONResponse(body, status_code=409 if result.status == "refused" else 200)
