"""What /admin/keys does, with errors that tell operators what to do next."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from config.schema_keys import KeyConfig
from gateway.admin.access import AdminContext, AdminError
from gateway.admin.audit import Actor
from gateway.admin.wire import check_match, etag_of, invalid
from gateway.keys.directory import ChangedMeanwhileError
from gateway.keys.record import KeyRecord, Made, change, make, rotate, view
from gateway.keys.ring import digest_of
from gateway.keys.stores import KeyStoreError
from gateway.keys.table import problem_of
from routing.router import UnknownModelError

_MAX_OVERLAP_S = 90 * 86_400
_FIXED = ("name", "sha256")  # of a key that is there


class Rotation(BaseModel):
    """The body of a rotation."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    overlap_s: Annotated[float, Field(ge=0, le=_MAX_OVERLAP_S)] = Field(
        default=0, description="Seconds for which the old secret goes on beside the new one."
    )


class KeyDesk:
    """Finds, makes and changes keys. Every change is in the audit log."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._service = context.service

    def answer(
        self, settings: KeyConfig, record: KeyRecord | None, more: Mapping[str, Any] | None = None, status: int = 200
    ) -> JSONResponse:
        """The key as it is shown, with its ETag."""
        return JSONResponse(
            self._view(settings, record) | dict(more or {}), status, headers={"etag": _etag(settings, record)}
        )

    async def views(self) -> list[dict[str, Any]]:
        """All keys, by name. A key of the file hides one that was made with the same name."""
        await self._service.keys.refresh()
        made = {name: self._view(record.settings, record) for name, record in self._service.keys.records.items()}
        of_file = {settings.name: self._view(settings, None) for settings in self._service.runtime.ring.keys}
        return [shown for _, shown in sorted({**made, **of_file}.items())]

    async def find(self, name: str) -> tuple[KeyConfig, KeyRecord | None]:
        """The key of that name; without a record it is one of the configuration file. Raises AdminError (404)."""
        await self._service.keys.refresh()
        for settings in self._service.runtime.ring.keys:
            if settings.name == name:
                return settings, None
        record = self._service.keys.records.get(name)
        if record is None:
            raise AdminError(404, "key_not_found", f"There is no key '{name[:200]}'.", param="name")
        return record.settings, record

    async def create(self, actor: Actor, body: Mapping[str, Any]) -> JSONResponse:
        """A new key. Raises AdminError (400, 409, 503)."""
        where = self._service.keys.store.where
        if where == "memory" and self._service.settings.workers > 1:
            raise AdminError(
                409,
                "no_key_store",
                "Several workers share no memory: set SIGNALBOX_STATE_DIR or SIGNALBOX_REDIS_URL to make keys.",
            )
        try:
            given = {name: value for name, value in body.items() if value is not None}
            made = make(given, self._service.wall_clock())
        except ValidationError as error:
            raise invalid(error) from None
        await self._service.keys.refresh()
        self._check_new(made.record)
        self._check_references(made.record.settings, given)
        await self._put(made.record, None)
        await self._context.done(actor, made.record.name, after=self._view(made.record.settings, made.record))
        more = _with_secret(made)
        if where == "memory":
            more["warning"] = "It is kept in memory and ends with the process: set SIGNALBOX_STATE_DIR to keep it."
        return self.answer(made.record.settings, made.record, more, 201)

    async def change(self, actor: Actor, name: str, request: Request, changes: Mapping[str, Any]) -> JSONResponse:
        """Other settings for a key. Raises AdminError (400, 404, 409, 412, 503)."""
        before = await self._made(name, request)
        for fixed in _FIXED:
            if fixed in changes:
                raise AdminError(400, "invalid_parameter", f"'{fixed}' cannot be changed.", param=fixed)
        try:
            record = change(before, changes)
        except ValidationError as error:
            raise invalid(error) from None
        self._check_references(record.settings, changes)
        await self._put(record, before)
        await self._note(actor, before, record)
        return self.answer(record.settings, record)

    async def rotate(self, actor: Actor, name: str, request: Request, body: Mapping[str, Any]) -> JSONResponse:
        """Another secret for a key. Raises as `change`."""
        try:
            overlap_s = Rotation.model_validate(body).overlap_s
        except ValidationError as error:
            raise invalid(error) from None
        before = await self._made(name, request)
        made = rotate(before, overlap_s, self._service.wall_clock())
        await self._put(made.record, before)
        await self._note(actor, before, made.record)
        return self.answer(made.record.settings, made.record, _with_secret(made))

    async def delete(self, actor: Actor, name: str, request: Request) -> None:
        """Remove a key. Raises as `change`."""
        before = await self._made(name, request)
        try:
            await self._service.keys.remove(before)
        except (ChangedMeanwhileError, KeyStoreError) as error:
            raise _failed(name, error) from None
        await self._note(actor, before, None)

    async def _made(self, name: str, request: Request) -> KeyRecord:
        """A key that was made at run time, in the state that the request means."""
        settings, record = await self.find(name)
        if record is None:
            raise AdminError(
                409,
                "key_in_configuration",
                f"The key '{name}' is in the configuration file: change it there, the file is reloaded at once.",
            )
        check_match(request, _etag(settings, record))
        return record

    async def _put(self, record: KeyRecord, before: KeyRecord | None) -> None:
        try:
            await self._service.keys.put(record, before)
        except (ChangedMeanwhileError, KeyStoreError) as error:
            raise _failed(record.name, error) from None

    async def _note(self, actor: Actor, before: KeyRecord, after: KeyRecord | None) -> None:
        await self._context.done(
            actor,
            before.name,
            before=self._view(before.settings, before),
            after=self._view(after.settings, after) if after is not None else None,
        )

    def _check_new(self, record: KeyRecord) -> None:
        ring, records = self._service.runtime.ring, self._service.keys.records
        if record.name in records or any(settings.name == record.name for settings in ring.keys):
            raise AdminError(409, "key_exists", f"There is a key '{record.name}' already.", param="name")
        digests = {settings.sha256 for settings in ring.keys} | set(ring.admins)
        own = self._service.settings.admin_key
        if own is not None:
            digests.add(digest_of(own.get_secret_value().encode()))
        for other in records.values():
            digests |= {other.settings.sha256, *(one.sha256 for one in other.previous)}
        if record.settings.sha256 in digests:
            raise AdminError(409, "key_exists", "Another key has the same secret.", param="sha256")

    def _check_references(self, settings: KeyConfig, given: Mapping[str, Any]) -> None:
        """What was given refers to what the configuration has. What was there before is not asked for again."""
        problem = problem_of(settings, self._service.runtime.ring)
        if problem is not None and problem[0] in given:
            raise AdminError(400, "invalid_parameter", problem[1], param=problem[0])
        asked = [("models", model) for model in settings.models or ()]
        if settings.default_model is not None:
            asked.append(("default_model", settings.default_model))
        for member, model in asked:
            if member not in given:
                continue
            try:
                self._service.runtime.router.find(model)
            except UnknownModelError as error:
                near = f" Did you mean {' or '.join(error.near)}?" if error.near else ""
                message = f"'{member}': there is no model or route '{model}'.{near}"
                raise AdminError(400, "invalid_parameter", message, param=member) from None

    def _view(self, settings: KeyConfig, record: KeyRecord | None) -> dict[str, Any]:
        return view(settings, record, self._service.wall_clock())


def _with_secret(made: Made) -> dict[str, Any]:
    return {} if made.secret is None else {"secret": made.secret}


def _etag(settings: KeyConfig, record: KeyRecord | None) -> str:
    return etag_of(settings.model_dump_json().encode() if record is None else record.to_json())


def _failed(name: str, error: ChangedMeanwhileError | KeyStoreError) -> AdminError:
    if isinstance(error, ChangedMeanwhileError):
        return AdminError(409, "key_changed", f"Somebody else has just changed the key '{name}': look at it again.")
    message = f"The store of keys cannot be reached ({error}). Whether it was done is not known: look at it later."
    return AdminError(503, "key_store_unavailable", message)
