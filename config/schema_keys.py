"""Virtual keys and the keys of the admin API."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from config.schema_base import Name, Names, Section

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)]
Role = Literal["viewer", "operator", "admin"]


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


class KeyConfig(Section):
    """A virtual key: who may call. Only the digest of the secret is kept."""

    name: Name = Field(description="How the key is called in logs and metrics.")
    sha256: Sha256 = Field(description="SHA-256 of the secret, 64 hexadecimal digits.")
    team: Name | None = Field(default=None, description="The team it belongs to, whose limits hold as well.")
    budget: Name | None = Field(default=None, description="The budget that pays.")
    limits: Name | None = Field(default=None, description="The rate limits that hold.")
    models: tuple[Name, ...] | None = Field(
        default=None, description="Models and routes the key may ask for; all of them where left out."
    )
    candidates: Names | None = Field(
        default=None, description="Models that may answer this key, whatever name it asks for; all where left out."
    )
    default_model: Name | None = Field(
        default=None, description="The model or route of requests that name none, or `default`."
    )
    tags: Names | None = Field(default=None, description="Tags that every request of this key carries.")
    metadata: dict[str, Annotated[str, StringConstraints(max_length=500)]] = Field(
        default_factory=dict, max_length=50, description="Notes of your own; shown by the admin API, never to callers."
    )
    expires: Annotated[datetime, AfterValidator(_in_utc)] | None = Field(
        default=None, description="When the key ends, as `2027-01-31` or `2027-01-31T12:00:00Z`; UTC unless it says."
    )
    disabled: bool = Field(default=False, description="Whether the key is refused.")
    priority: bool = Field(
        default=False, description="Whether a tenth of the places under `policies.overload` is kept for such keys."
    )


class AdminKeyConfig(Section):
    """A key of the admin API beside SIGNALBOX_ADMIN_KEY, which may do everything."""

    name: Name = Field(description="Who that is in the audit log.")
    sha256: Sha256 = Field(description="SHA-256 of the secret, 64 hexadecimal digits.")
    role: Role = Field(
        default="viewer",
        description="`viewer` reads; `operator` also reloads, resets and raises budgets; `admin` also makes keys.",
    )
