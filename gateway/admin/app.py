"""The control plane: a FastAPI application for operators, which also documents the data plane in its OpenAPI page."""

from importlib.metadata import version
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from gateway.admin.explanations import add_explain
from gateway.api.endpoint import Endpoint
from gateway.auth import is_admin
from gateway.reload import Reloader
from gateway.service import Service
from providers.base import error_object


class ReloadResult(BaseModel):
    """What a reload did."""

    status: str = Field(description="'reloaded', 'unchanged' or 'refused'")
    version: str = Field(description="Digest of the configuration in use.")
    diagnostics: list[dict[str, Any]] = Field(description="Every problem found, errors and warnings.")


class _DeniedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def build_control_plane(service: Service, reloader: Reloader, endpoints: list[Endpoint]) -> FastAPI:
    """The application behind /admin and /docs. Every route declares its guard; nothing is open by default."""
    app = FastAPI(
        title="Signalbox",
        version=version("signalbox-gateway"),
        summary="An OpenAI-compatible LLM routing gateway.",
        telemetry={"tracing": False, "metrics": False, "logs": False},
        redirect_slashes=False,  # such a redirect repeats the Host of the request, which anybody can make up
    )

    def admin_only(request: Request) -> None:
        admin_key = service.settings.admin_key
        if admin_key is None:
            raise _DeniedError(403, "The admin API is off: set SIGNALBOX_ADMIN_KEY to a secret of your choice.")
        if not is_admin(dict(request.headers.raw), admin_key.get_secret_value()):
            raise _DeniedError(401, "The admin API needs the admin key as 'Authorization: Bearer <key>'.")

    @app.exception_handler(_DeniedError)
    async def denied(_: Request, error: _DeniedError) -> JSONResponse:
        body = error_object(error.message, "invalid_request_error", None, "admin_access_denied")
        return JSONResponse({"error": body}, status_code=error.status)

    @app.exception_handler(404)
    @app.exception_handler(405)
    async def unknown(request: Request, error: Any) -> JSONResponse:
        body = error_object(
            f"{request.method} {request.url.path}: {error.detail}.", "invalid_request_error", None, "unknown_url"
        )
        return JSONResponse({"error": body}, status_code=error.status_code)

    @app.post("/admin/reload", tags=["admin"], response_model=ReloadResult, responses={409: {"model": ReloadResult}})
    async def reload_configuration(_: Annotated[None, Depends(admin_only)]) -> JSONResponse:
        """Read the configuration file again. A file with errors is refused and the old configuration stays (409)."""
        result = await reloader.reload("admin")
        reloader.tell_other_workers()
        status = 409 if result.status == "refused" else 200
        body = {
            "status": result.status,
            "version": service.runtime.version,
            "diagnostics": [diagnostic.to_json() for diagnostic in result.diagnostics],
        }
        return JSONResponse(body, status_code=status)

    add_explain(app, service, admin_only)
    _document(app, endpoints)
    return app


def _document(app: FastAPI, endpoints: list[Endpoint]) -> None:
    """Show the raw endpoints in the OpenAPI document. They are served before FastAPI sees a request."""
    generate = app.openapi

    def with_data_plane() -> dict[str, Any]:
        document = generate()
        for endpoint in endpoints:
            for path in endpoint.paths:
                shown = path.replace("/*", "/{id}")
                for method in endpoint.methods:
                    operation: dict[str, Any] = {
                        "summary": endpoint.summary,
                        "tags": ["traffic" if endpoint.guard == "caller" else "operation"],
                        "responses": {"200": {"description": "The answer."}},
                    }
                    if shown != path:
                        operation["parameters"] = [
                            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
                        ]
                    document["paths"].setdefault(shown, {})[method.lower()] = operation
        return document

    app.openapi = with_data_plane  # type: ignore[method-assign]
