"""Whether this process would spend money for anybody who can reach it; asked at start and at every reload."""

from config.settings import Settings


def open_to_the_world(settings: Settings, *, has_keys: bool) -> str | None:
    """What is wrong with serving without keys at this address; None where it is fine."""
    is_loopback = settings.host in ("localhost", "::1") or settings.host.startswith("127.")
    if has_keys or is_loopback or settings.allow_anonymous:
        return None
    return (
        f"{settings.host} can be reached from other machines, and no keys are configured: anybody could spend your "
        "money. "
        "Add 'keys:' to the configuration, listen on 127.0.0.1, or set SIGNALBOX_ALLOW_ANONYMOUS=true."
    )
