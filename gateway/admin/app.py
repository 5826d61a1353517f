"""The control plane: a FastAPI application for operators, which also documents the data plane in its OpenAPI page.

A file of this folder that has `add_routes(app, context)` is part of it; there is no list to edit.
"""

import pkgutil
from importlib import import_module
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

import gateway.admin
from gateway.admin.access import AdminContext, AdminError, check_guards
from gateway.admin.audit import AuditLog
from gateway.api.endpoint import Endpoint
from gateway.reload import Reloader
from gateway.service import Service
from gateway.wire.refusals import RefusedError
from providers.base import error_object


def build_control_plane(service: Service, reloader: Reloader, endpoints: list[Endpoint]) -> FastAPI:
    """The application behind /admin and /docs. Every route declares its guard; nothing is open by default."""
    app = FastAPI(
        title="Signalbox",
        version=version("signalbox-gateway"),
        summary="An OpenAI-compatible LLM routing gateway.",
        telemetry={"tracing": False, "metrics": False, "logs": False},
        redirect_slashes=False,  # such a redirect repeats the Host of the request, which anybody can make up
    )
    audit = AuditLog(service.settings.state_dir, service.recorder.logger, service.wall_clock)
    context = AdminContext(service, reloader, audit)
    _add_error_handlers(app, context)
    for module_info in pkgutil.iter_modules(gateway.admin.__path__):
        add_routes = getattr(import_module(f"gateway.admin.{module_info.name}"), "add_routes", None)
        if add_routes is not None:
            add_routes(app, context)
    check_guards(app)
    _document(app, endpoints)
    return app


def _add_error_handlers(app: FastAPI, context: AdminContext) -> None:
    @app.exception_handler(AdminError)
    async def refused(request: Request, error: AdminError) -> JSONResponse:
        actor = getattr(request.state, "actor", None)
        if request.method != "GET" and actor is not None and not error.is_noted:
            await context.audit.refused(actor, error.code, request.path_params.get("name"))
        return JSONResponse({"error": error.error}, status_code=error.status)

    @app.exception_handler(RefusedError)
    async def refused_as_data_plane(_: Request, error: RefusedError) -> JSONResponse:
        return JSONResponse({"error": error.refusal.error}, status_code=error.refusal.status)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        body = error_object(f"'{where}': {first['msg']}.", "invalid_request_error", where or None, "invalid_parameter")
        return JSONResponse({"error": body}, status_code=400)

    @app.exception_handler(404)
    @app.exception_handler(405)
    async def unknown(request: Request, error: Any) -> JSONResponse:
        body = error_object(
            f"{request.method} {request.url.path}: {error.detail}.", "invalid_request_error", None, "unknown_url"
        )
        return JSONResponse({"error": body}, status_code=error.status_code)


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
