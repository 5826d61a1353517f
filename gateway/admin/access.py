"""Who may do what in the control plane: the admin key, keys with roles, and the one dependency that asks for them.

Every route of /admin declares the least role that it needs, as an argument of its function:
`actor: Annotated[Actor, Depends(context.needs("viewer"))]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute

from config.schema_keys import Role
from gateway.admin.audit import Actor, AuditLog
from gateway.auth import is_admin, presented_secret
from gateway.keys.ring import Admin, digest_of
from gateway.reload import Reloader
from gateway.service import Service
from providers.base import error_object

ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")  # each may do what those before it may
_OWNER = Admin("admin", "admin")  # whoever holds SIGNALBOX_ADMIN_KEY
ROLE_FIELD = "x-required-role"  # in the OpenAPI document
_REFUSED = {
    "description": "An error of OpenAI's shape. 400: what is wrong with the request; 401 and 403: no admin key, or one "
    "whose role does not suffice; 413: the body is too large.",
    "content": {
        "application/json": {
            "example": {
                "error": error_object(
                    "The admin API needs an admin key as 'Authorization: Bearer <key>'.",
                    "invalid_request_error",
                    None,
                    "admin_access_denied",
                )
            }
        }
    },
}


class AdminError(Exception):
    """Ends a request of the control plane with an error of OpenAI's shape."""

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.error = error_object(message, "invalid_request_error", param, code)
        self.is_noted = False  # whether the audit log has it


@dataclass(slots=True, frozen=True)
class AdminContext:
    """What the modules of the control plane get in `add_routes(app, context)`."""

    service: Service
    reloader: Reloader
    audit: AuditLog
    _needs: "dict[Role, Needs]" = field(default_factory=dict)

    def needs(self, role: Role) -> "Needs":
        """The dependency of a route: whoever calls has this role, or a higher one. Raises AdminError (401, 403)."""
        return self._needs.setdefault(role, Needs(role, self))

    async def done(
        self,
        actor: Actor,
        target: str | None = None,
        *,
        before: Any = None,
        after: Any = None,
    ) -> None:
        """Note in the audit log that the route's action was done. `before` and `after` hold no secrets."""
        await self.audit.note(actor, target, before=before, after=after)


class Needs:
    """A guard that FastAPI calls for every request of a route."""

    def __init__(self, role: Role, context: AdminContext) -> None:
        self.role = role
        self._context = context

    async def __call__(self, request: Request) -> Actor:
        address = request.client.host if request.client is not None else None
        actor = Actor("", None, request.scope["route"].name, address)
        try:
            admin = self._admin_of(request)
            actor = Actor(admin.name, admin.role, actor.action, address)
            if ROLES.index(admin.role) < ROLES.index(self.role):
                raise AdminError(
                    403,
                    "role_not_sufficient",
                    f"The admin key '{admin.name}' has the role '{admin.role}'; this needs '{self.role}'.",
                )
        except AdminError as error:
            await self._context.audit.refused(actor, error.code, request.path_params.get("name"))
            error.is_noted = True
            raise
        request.state.actor = actor
        return actor

    def _admin_of(self, request: Request) -> Admin:
        service = self._context.service
        own, admins = service.settings.admin_key, service.runtime.ring.admins
        if own is None and not admins:
            raise AdminError(
                403,
                "admin_access_denied",
                "The admin API is off: set SIGNALBOX_ADMIN_KEY to a secret of your choice, or configure 'admin_keys'.",
            )
        headers = dict(request.headers.raw)
        if own is not None and is_admin(headers, own.get_secret_value()):
            return _OWNER
        secret = presented_secret(headers)
        admin = admins.get(digest_of(secret)) if secret is not None else None
        if admin is None:
            raise AdminError(
                401, "admin_access_denied", "The admin API needs an admin key as 'Authorization: Bearer <key>'."
            )
        return admin


def check_guards(app: FastAPI) -> None:
    """Every route below /admin has a guard, and its OpenAPI entry says which role. Raises RuntimeError where not."""
    for route in app.routes:
        path: str = getattr(route, "path", "")
        if not path.startswith("/admin"):
            continue
        roles = [guard.role for guard in _guards(route)]
        if len(roles) != 1:
            raise RuntimeError(f"{path} has {len(roles)} guards; a route of /admin needs one")
        assert isinstance(route, APIRoute)
        route.openapi_extra = {**(route.openapi_extra or {}), ROLE_FIELD: roles[0]}
        route.responses = {"4XX": _REFUSED, **route.responses}


def _guards(route: object) -> Sequence[Needs]:
    if not isinstance(route, APIRoute):
        return ()
    return [dependency.call for dependency in route.dependant.dependencies if isinstance(dependency.call, Needs)]
