"""A row of `providers:` as its dialect sees it, for building a Runtime and for checking a file alike.

Imports no network library: `signalbox check` uses it.
"""

from pathlib import Path

from config.schema import ProviderConfig
from providers import registry
from providers.base import ProviderOptions


def options_of(name: str, provider: ProviderConfig) -> ProviderOptions:
    """The options of one configured provider."""
    return ProviderOptions(
        name=name,
        kind=provider.kind,
        api_key=provider.api_key,
        base_url=provider.base_url,
        headers=provider.headers,
        extra=provider.extra,
    )


def provider_problem(name: str, provider: ProviderConfig) -> str | None:
    """What is wrong with a provider's options, None when it can be built. Nothing is connected."""
    try:
        options = options_of(name, provider)
        registry.build(options)
        check_ca_file(options)
        check_public_only(options)
    except ValueError as error:
        return str(error)
    return None


def check_ca_file(options: ProviderOptions) -> str | None:
    """The provider's file of trusted roots, if it has one. Raises ValueError when it is none."""
    path = options.extra.get("ca_file")
    if path is None:
        return None
    try:
        text = Path(path).read_bytes()
    except (OSError, TypeError) as error:
        reason = getattr(error, "strerror", None) or "it has to be a path"
        raise ValueError(f"Provider '{options.name}': ca_file: cannot read '{path}': {reason}.") from None
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise ValueError(f"Provider '{options.name}': ca_file: '{path}' holds no PEM certificate.")
    return str(path)


def check_public_only(options: ProviderOptions) -> bool:
    """Whether the provider's addresses have to be public ones. Raises ValueError when it is neither yes nor no."""
    value = options.extra.get("public_only", False)
    if not isinstance(value, bool):
        raise ValueError(f"Provider '{options.name}': public_only: has to be true or false.")
    return value
