"""Process settings: they come from the environment, and a change needs a restart.

What may change while the process runs is in the configuration file instead. Every secret can also be read from a file:
`SIGNALBOX_ADMIN_KEY_FILE=/run/secrets/admin` stands for `SIGNALBOX_ADMIN_KEY=<content of that file>`.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "SIGNALBOX_"
_FILE_SUFFIX = "_FILE"
_MAX_SECRET_BYTES = 64 * 1024

Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class SettingsError(ValueError):
    """Settings that cannot be used; the text names every variable with what is wrong and what it may be."""


class Settings(BaseSettings):
    """How this process runs. `Settings()` reads the process environment, `Settings.load` the one it is given."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: Port = Field(default=8080, description="Port to listen on; 0 takes a free one.")
    reuse_port: bool = Field(
        default=False,
        description="Whether another gateway of the same user may listen on the same port, to take over from this one.",
    )
    admin_port: Port | None = Field(
        default=None,
        description="Port of a second listener, for `/admin`, `/docs`, `/openapi.json` and `/metrics`: the first has "
        "only traffic then. 0 takes a free one. Unset, one listener has everything.",
    )
    admin_host: str = Field(default="127.0.0.1", min_length=1, description="Address of the listener on the admin port.")
    workers: int = Field(default=1, ge=1, le=256, description="Processes that serve.")
    config: Path | None = Field(
        default=None, description="The configuration file; `signalbox.yaml` in the working folder otherwise."
    )
    watch: bool = Field(default=True, description="Whether a change of the configuration file is taken over at once.")
    state_dir: Path | None = Field(
        default=None, description="Folder for state that survives a restart; none is kept where unset."
    )
    replicas: int = Field(
        default=1, ge=1, le=10_000, description="Gateways that share one Redis: while it is away each admits its share."
    )
    redis_url: SecretStr | None = Field(
        default=None, description="Redis through which replicas share state, as `redis://host:6379/0`."
    )
    redis_namespace: str = Field(
        default="default",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="Which gateways on that Redis share state: those of the same namespace.",
    )
    admin_key: SecretStr | None = Field(
        default=None,
        min_length=8,
        description="Key of the control plane (`/admin`, `/metrics`); without one `/admin` is closed.",
    )
    max_series: int = Field(
        default=5000,
        ge=2000,
        le=1_000_000,
        description="Series on `/metrics` at most; names of models and deployments beyond that are counted as `other`.",
    )
    metrics_open: bool = Field(
        default=False, description="Whether `/metrics` answers everybody who can reach it, without an admin key."
    )
    allow_anonymous: bool = Field(
        default=False, description="Whether to serve without virtual keys on an address that others can reach."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level that is logged."
    )
    log_format: Literal["json", "text"] = Field(
        default="json", description="One JSON object per line, or text for people."
    )
    max_body_bytes: int = Field(default=10 * 1024 * 1024, ge=1024, description="Largest request body in bytes.")
    drain_s: Seconds = Field(default=60, description="Seconds that requests in flight may take to finish at shutdown.")
    lame_duck_s: Seconds = Field(
        default=5,
        description="Seconds after SIGTERM in which `/readyz` already says no and requests are still served.",
    )

    @field_validator("admin_port")
    @classmethod
    def _is_another_port(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value and value == info.data.get("port"):
            raise PydanticCustomError("same_port", "This is SIGNALBOX_PORT as well; the control plane needs its own.")
        return value

    @classmethod
    def load(cls, environ: Mapping[str, str], **overrides: Any) -> "Settings":
        """The settings of `environ` (`SIGNALBOX_*`); `overrides` from the command line win, None is no override.

        Raises SettingsError, which lists every problem.
        """
        values, problems = _read(environ, cls.model_fields)
        values.update({name: value for name, value in overrides.items() if value is not None})
        settings = None
        try:
            settings = _Given(**values)
        except ValidationError as error:
            problems += [_describe(item["loc"], item["msg"]) for item in error.errors(include_input=False)]
        if problems or settings is None:
            raise SettingsError("\n".join(problems))
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The process environment, read by the same function as the one handed to `load`."""
        return init_settings, _ProcessEnvironment(settings_cls)


class _Given(Settings):
    """Settings made of values alone, so that what `load` was given is all there is."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


class _ProcessEnvironment(PydanticBaseSettingsSource):
    """`os.environ` for the plain constructor."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        values, problems = _read(os.environ, Settings.model_fields)
        if problems:
            raise SettingsError("\n".join(problems))
        return values


def secret_settings() -> tuple[str, ...]:
    """Names of the settings that may also come from a file."""
    return tuple(name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation))


def unknown_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for every `SIGNALBOX_*` variable that is no setting: most are misspelt, and none has an effect."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {PREFIX + name.upper() + _FILE_SUFFIX for name in secret_settings()}
    notes = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in known:
            continue
        near = difflib.get_close_matches(variable, known, n=1, cutoff=0.8)
        hint = f" Did you mean {near[0]}?" if near else ""
        notes.append(f"{variable} is no setting and has no effect.{hint}")
    return tuple(notes)


def _read(environ: Mapping[str, str], names: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    problems: list[str] = []
    secrets = secret_settings()
    for name in names:
        variable = PREFIX + name.upper()
        # An empty variable is how compose files and unit files write "not set".
        if environ.get(variable):
            values[name] = environ[variable]
        file = environ.get(variable + _FILE_SUFFIX) if name in secrets else None
        if not file:
            continue
        if name in values:
            problems.append(f"{variable} and {variable}{_FILE_SUFFIX} are both set; keep one of them.")
            continue
        try:
            values[name] = _secret_of(Path(file))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            problems.append(f"{variable}{_FILE_SUFFIX}: cannot read {file}: {reason}.")
    return values, problems


def _secret_of(file: Path) -> str:
    with file.open("rb") as stream:
        data = stream.read(_MAX_SECRET_BYTES + 1)
    if len(data) > _MAX_SECRET_BYTES:
        raise ValueError(f"it is larger than {_MAX_SECRET_BYTES} bytes")
    secret = data.decode("utf-8").rstrip("\r\n")
    if not secret:
        raise ValueError("it is empty")
    return secret


def _describe(location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]) if location else ""
    field = Settings.model_fields.get(name)
    about = f" ({field.description})" if field is not None and field.description else ""
    return f"{PREFIX}{name.upper()}: {message.replace(' items ', ' characters ')}.{about}"
