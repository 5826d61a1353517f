"""A key made at run time: its settings as in the configuration file, and what only such keys have."""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from config.schema_keys import KeyConfig
from gateway.keys.ring import digest_of

_PREFIX = "sb-"
_SECRET_BYTES = 32
_SHOWN = len(_PREFIX) + 6  # characters of a secret by which people recognise it


class Previous(NamedTuple):
    """A secret from before a rotation, as its digest, and when it ends (Unix seconds)."""

    sha256: str
    until_s: float


class UnreadableRecordError(ValueError):
    """What was stored is no record that this version understands."""


@dataclass(slots=True, frozen=True)
class KeyRecord:
    """`settings.sha256` is the digest of the secret in use, `prefix` the secret's first characters (None: unknown).
    Times are Unix seconds.
    """

    settings: KeyConfig
    prefix: str | None
    created_s: float
    previous: tuple[Previous, ...] = ()

    @property
    def name(self) -> str:
        return self.settings.name

    def to_json(self) -> bytes:
        """How it is stored: the same record always gives the same bytes."""
        stored = {
            "settings": self.settings.model_dump(mode="json", exclude_defaults=True),
            "prefix": self.prefix,
            "created_s": self.created_s,
            "previous": [list(one) for one in self.previous],
        }
        return orjson.dumps(stored, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, data: bytes) -> "KeyRecord":
        """The record that `to_json` wrote. Raises UnreadableRecordError."""
        try:
            stored = orjson.loads(data)
            return cls(
                KeyConfig.model_validate(stored["settings"]),
                stored["prefix"],
                stored["created_s"],
                tuple(Previous(*one) for one in stored["previous"]),
            )
        except (ValidationError, orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise UnreadableRecordError(f"a stored key cannot be read: {type(error).__name__}") from None

    def expires_s(self) -> float | None:
        """Unix seconds at which it ends; None: never."""
        return None if self.settings.expires is None else self.settings.expires.timestamp()


class Made(NamedTuple):
    """A record with its secret, which is nowhere else. `secret` is None where the caller brought a digest."""

    record: KeyRecord
    secret: str | None


def new_secret() -> str:
    """256 random bits, as text that needs no quoting in shells, headers and addresses."""
    return _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def make(settings: Mapping[str, Any], now_s: float) -> Made:
    """A new key with these settings, those of the configuration file. With `sha256` the secret is the caller's own.

    Raises pydantic.ValidationError.
    """
    if settings.get("sha256") is not None:
        return Made(KeyRecord(KeyConfig.model_validate(settings), None, now_s), None)
    secret = new_secret()
    digest = digest_of(secret.encode())
    checked = KeyConfig.model_validate({**settings, "sha256": digest})
    return Made(KeyRecord(checked, secret[:_SHOWN], now_s), secret)


def rotate(record: KeyRecord, overlap_s: float, now_s: float) -> Made:
    """The same key with a new secret. The old one goes on for `overlap_s` seconds."""
    secret = new_secret()
    kept = tuple(one for one in record.previous if one.until_s > now_s)
    if overlap_s > 0:
        kept = (Previous(record.settings.sha256, now_s + overlap_s), *kept)
    settings = record.settings.model_copy(update={"sha256": digest_of(secret.encode())})
    return Made(replace(record, settings=settings, prefix=secret[:_SHOWN], previous=kept), secret)


def change(record: KeyRecord, changes: Mapping[str, Any]) -> KeyRecord:
    """The record with other settings; None takes a setting away. Raises pydantic.ValidationError."""
    fields = KeyConfig.model_fields
    settings = {name: getattr(record.settings, name) for name in record.settings.model_fields_set}
    for name, value in changes.items():
        if value is None and name in fields:
            settings.pop(name, None)
        else:
            settings[name] = value
    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    return replace(record, settings=KeyConfig.model_validate(settings))


def state_of(settings: KeyConfig, now_s: float) -> str:
    """`active`, `disabled` or `expired`."""
    if settings.disabled:
        return "disabled"
    return "expired" if settings.expires is not None and settings.expires.timestamp() <= now_s else "active"


def view(settings: KeyConfig, record: KeyRecord | None, now_s: float) -> dict[str, Any]:
    """What operators see of a key: everything but secrets and digests. `record` is None for one of the file."""
    shown = settings.model_dump(mode="json", exclude={"sha256", "expires"})
    return {
        "object": "key",
        "name": settings.name,
        "state": state_of(settings, now_s),
        "source": "config" if record is None else "created",
        "prefix": None if record is None else record.prefix,
        "created": None if record is None else text_of(record.created_s),
        "expires": None if settings.expires is None else _text(settings.expires),
        "previous_until": max((text_of(one.until_s) for one in record.previous if one.until_s > now_s), default=None)
        if record is not None
        else None,
    } | shown


def text_of(moment_s: float) -> str:
    """Unix seconds as people write a moment, in UTC."""
    return _text(datetime.fromtimestamp(moment_s, UTC))


def _text(moment: datetime) -> str:
    with suppress(OverflowError):  # the first and the last hours of the calendar are in no other zone
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
