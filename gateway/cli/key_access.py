"""Keys as a command changes them: through a running gateway, or straight in the store of a state folder or Redis."""

from collections.abc import Awaitable, Mapping
from pathlib import Path
from time import time
from typing import Any, Protocol
from urllib.parse import quote

from pydantic import ValidationError

from gateway.admin.audit import Actor, AuditLog
from gateway.cli.admin_client import AdminClient, AdminClientError
from gateway.keys.record import KeyRecord, Made, change, make, rotate, view
from gateway.keys.stores import KeyStore, KeyStoreError

_PAGE = 1_000
Shown = dict[str, Any]


class KeyAccessError(Exception):
    """What was asked for was not done; the message says why."""


class KeyAccess(Protocol):
    """Every method answers with keys as the admin API shows them, and raises KeyAccessError."""

    async def create(self, settings: Mapping[str, Any]) -> Shown: ...
    async def all(self) -> list[Shown]: ...
    async def show(self, name: str) -> Shown: ...
    async def rotate(self, name: str, overlap_s: float) -> Shown: ...
    async def set_disabled(self, name: str, *, is_disabled: bool) -> Shown: ...
    async def delete(self, name: str) -> None: ...
    async def close(self) -> None: ...


class RemoteKeys:
    """Through the admin API of a gateway."""

    def __init__(self, url: str, admin_key: str) -> None:
        self._client = AdminClient(url, admin_key)

    async def create(self, settings: Mapping[str, Any]) -> Shown:
        return await self._ask("POST", "", settings)

    async def all(self) -> list[Shown]:
        found: list[Shown] = []
        after = ""
        while True:
            page = await self._ask("GET", f"?limit={_PAGE}{after}")
            found += page["data"]
            if not page["has_more"]:
                return found
            after = f"&after={quote(page['next'], safe='')}"

    async def show(self, name: str) -> Shown:
        return await self._ask("GET", f"/{quote(name)}")

    async def rotate(self, name: str, overlap_s: float) -> Shown:
        return await self._ask("POST", f"/{quote(name)}/rotate", {"overlap_s": overlap_s})

    async def set_disabled(self, name: str, *, is_disabled: bool) -> Shown:
        return await self._ask("POST", f"/{quote(name)}/{'disable' if is_disabled else 'enable'}")

    async def delete(self, name: str) -> None:
        await self._ask("DELETE", f"/{quote(name)}")

    async def close(self) -> None:
        await self._client.close()

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Shown:
        try:
            return await self._client.ask(method, f"/admin/keys{path}", body)
        except AdminClientError as error:
            raise KeyAccessError(str(error)) from None


class StoredKeys:
    """In the store itself, beside the gateways that use it; they see it within a second. The audit log is in the state
    folder, where there is one.
    """

    def __init__(self, store: KeyStore, audit_folder: Path | None) -> None:
        self._store = store
        self._audit = AuditLog(audit_folder, None, time)

    async def create(self, settings: Mapping[str, Any]) -> Shown:
        try:
            made = make(settings, time())
        except ValidationError as error:
            raise KeyAccessError(_first(error)) from None
        if not await _reached(self._store.put(made.record, None)):
            raise KeyAccessError(f"There is a key '{made.record.name}' already.")
        return await self._noted("create_key", None, made)

    async def all(self) -> list[Shown]:
        return [_view(record) for record in (await self._records()).values()]

    async def show(self, name: str) -> Shown:
        return _view(await self._find(name))

    async def rotate(self, name: str, overlap_s: float) -> Shown:
        before = await self._find(name)
        return await self._put("rotate_key", before, rotate(before, overlap_s, time()))

    async def set_disabled(self, name: str, *, is_disabled: bool) -> Shown:
        before = await self._find(name)
        action = "disable_key" if is_disabled else "enable_key"
        return await self._put(action, before, Made(change(before, {"disabled": is_disabled}), None))

    async def delete(self, name: str) -> None:
        before = await self._find(name)
        if not await _reached(self._store.remove(before)):
            raise KeyAccessError(_changed(name))
        await self._noted("delete_key", before, None)

    async def close(self) -> None:
        await self._store.close()

    async def _records(self) -> Mapping[str, KeyRecord]:
        loaded = await _reached(self._store.load())
        return loaded.records if loaded is not None else {}

    async def _find(self, name: str) -> KeyRecord:
        found = (await self._records()).get(name)
        if found is None:
            raise KeyAccessError(f"No key '{name}' was made here. Keys of the configuration file are changed there.")
        return found

    async def _put(self, action: str, before: KeyRecord, made: Made) -> Shown:
        if not await _reached(self._store.put(made.record, before)):
            raise KeyAccessError(_changed(before.name))
        return await self._noted(action, before, made)

    async def _noted(self, action: str, before: KeyRecord | None, made: Made | None) -> Shown:
        after = _view(made.record) if made is not None else {}
        name = before.name if before is not None else after["name"]
        try:
            await self._audit.note(
                Actor("command line", None, action, None),
                name,
                before=_view(before) if before is not None else None,
                after=after or None,
            )
        except OSError as error:
            after["warning"] = f"The audit log was not written: {error.strerror or error}."
        return after if made is None or made.secret is None else after | {"secret": made.secret}


async def _reached(asking: Awaitable[Any]) -> Any:
    try:
        return await asking
    except KeyStoreError as error:
        raise KeyAccessError(f"The keys cannot be reached: {error}") from None


def _view(record: KeyRecord) -> Shown:
    return view(record.settings, record, time())


def _changed(name: str) -> str:
    return f"Somebody else has just changed the key '{name}'. Look at it again."


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"'{where}': {first['msg'].removeprefix('Value error, ')}."
