"""Whether this process would spend money for anybody who can reach it; asked at start and at every reload."""

from collections.abc import Container
from hashlib import sha256

from config.settings import Settings


def is_loopback(settings: Settings) -> bool:
    """Whether only this machine reaches the traffic."""
    return settings.host in ("localhost", "::1") or settings.host.startswith("127.")


def open_to_the_world(settings: Settings, *, has_keys: bool) -> str | None:
    """What is wrong with serving without keys at this address; None where it is fine."""
    if has_keys or is_loopback(settings) or settings.allow_anonymous:
        return None
    return (
        f"{settings.host} can be reached from other machines, and no keys are configured: anybody could spend your "
        "money. "
        "Add 'keys:' to the configuration, listen on 127.0.0.1, or set SIGNALBOX_ALLOW_ANONYMOUS=true."
    )


def shared_admin_key(settings: Settings, digests: Container[str]) -> str | None:
    """What is wrong where the admin key is a virtual key as well, by the SHA-256 digests of those; None otherwise."""
    admin_key = settings.admin_key
    if admin_key is None or sha256(admin_key.get_secret_value().encode()).hexdigest() not in digests:
        return None
    return "SIGNALBOX_ADMIN_KEY is the secret of a key under 'keys:' too. Administration and traffic need their own."
