"""A row of `providers:` as its dialect sees it, for building a Runtime and for checking a file alike.

Imports no network library: `signalbox check` uses it.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from config.findings import Finding, suggestion
from config.schema import ProviderConfig
from providers import registry
from providers.base import OptionError, ProviderOptions

_OF_EVERY_KIND = ("ca_file", "public_only")


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


def provider_problems(name: str, provider: ProviderConfig) -> Iterator[Finding]:
    """What is wrong with a provider's options, nothing when it can be built. Nothing is connected.

    A finding whose path leads to an option holds also while the provider lacks its key. Raises UnknownKind.
    """
    options = options_of(name, provider)
    own = {*registry.option_names(options), *_OF_EVERY_KIND}
    for key in sorted(options.extra.keys() - own):
        message = f"providers.{name} has no key '{key}': kind '{provider.kind}' does not read it."
        hint = suggestion(key, own)
        yield Finding("error", "unknown-key", message, ("providers", name, key), "key", hint=hint)
    options = replace(options, extra={key: value for key, value in options.extra.items() if key in own})
    try:
        registry.build(options)
        check_ca_file(options)
        check_public_only(options)
    except OptionError as error:
        yield Finding("error", "provider-options", str(error), ("providers", name, error.option))
    except ValueError as error:
        yield Finding("error", "provider-options", str(error), ("providers", name), "key")


def check_ca_file(options: ProviderOptions) -> str | None:
    """The provider's file of trusted roots, if it has one. Raises OptionError when it is none."""
    path = options.extra.get("ca_file")
    if path is None:
        return None
    try:
        text = Path(path).read_bytes()
    except (OSError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it has to be a path"
        raise OptionError(options.name, "ca_file", f"cannot be read from '{path}': {reason}") from None
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise OptionError(options.name, "ca_file", f"names '{path}', which holds no PEM certificate")
    return str(path)


def check_public_only(options: ProviderOptions) -> bool:
    """Whether the provider's addresses have to be public ones. Raises OptionError when it is neither yes nor no."""
    value = options.extra.get("public_only", False)
    if not isinstance(value, bool):
        raise OptionError(options.name, "public_only", "has to be true or false")
    return value
