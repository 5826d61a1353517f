"""Who is calling: virtual keys in `Authorization: Bearer` or `x-api-key`."""

import time
from collections.abc import Callable, Container, Mapping
from hashlib import sha256
from hmac import compare_digest

from config.settings import Settings
from gateway.keys.table import Keys
from gateway.runtime import Caller
from gateway.wire import refusals

ANONYMOUS = Caller("anonymous")
_MAX_KEY_BYTES = 512


def authenticate(
    headers: Mapping[bytes, bytes], keys: Mapping[str, Caller], now_s: Callable[[], float] = time.time
) -> Caller:
    """The caller of a data-plane request. With no keys at all the gateway is open. `now_s` gives Unix seconds.

    Only digests are compared and looked up, so that timing tells nothing about a secret. Raises RefusedError: 401, and
    503 where nobody can tell.
    """
    if not keys and (not isinstance(keys, Keys) or keys.is_open):
        return ANONYMOUS
    secret = presented_secret(headers)
    if secret is None:
        raise _without_secret(keys)
    caller = keys.get(sha256(secret).hexdigest()) if len(secret) <= _MAX_KEY_BYTES else None
    if caller is None:
        raise _unknown(secret, keys)
    if caller.expires_s is not None and caller.expires_s <= now_s():
        raise refusals.key_expired(caller.name)
    return caller


def asks_for_no_key(keys: Mapping[str, Caller]) -> bool:
    """Whether the data plane serves everybody."""
    try:
        return authenticate({}, keys) is ANONYMOUS
    except refusals.RefusedError:
        return False


def presented_secret(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The credential in either header; SDKs of different ages use different ones."""
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, secret = authorization.partition(b" ")
        if scheme.lower() == b"bearer" and secret:
            return secret.strip()
    return headers.get(b"x-api-key") or None


def is_any_admin(headers: Mapping[bytes, bytes], admin_key: str | None, admins: Container[str]) -> bool:
    """Whether the credential opens the control plane: the admin key, or one whose digest is in `admins`."""
    secret = presented_secret(headers)
    if secret is None:
        return False
    return sha256(secret).hexdigest() in admins or (admin_key is not None and is_admin(headers, admin_key))


def refuse_admin_key(headers: Mapping[bytes, bytes], settings: Settings, admins: Container[str]) -> None:
    """An open gateway asks nobody for a key, but one for administration has no business among the traffic. Raises
    RefusedError (401).
    """
    own = settings.admin_key
    if is_any_admin(headers, None if own is None else own.get_secret_value(), admins):
        raise refusals.admin_key_in_traffic()


def is_admin(headers: Mapping[bytes, bytes], admin_key: str) -> bool:
    """Whether the credential is the admin key (constant time)."""
    secret = presented_secret(headers)
    return secret is not None and compare_digest(sha256(secret).digest(), sha256(admin_key.encode()).digest())


def _without_secret(keys: Mapping[str, Caller]) -> refusals.RefusedError:
    if not keys and isinstance(keys, Keys) and not keys.is_sure:
        return refusals.keys_unavailable()  # with no keys at all it would be open
    return refusals.missing_key()


def _unknown(secret: bytes, keys: Mapping[str, Caller]) -> refusals.RefusedError:
    """What is wrong with a secret that is nobody's now."""
    if not isinstance(keys, Keys) or len(secret) > _MAX_KEY_BYTES:
        return refusals.invalid_key()
    refused = keys.refused.get(sha256(secret).hexdigest())
    if refused is None:
        return refusals.invalid_key() if keys.is_sure else refusals.keys_unavailable()
    if refused.why == "disabled":
        return refusals.key_disabled(refused.name)
    return refusals.key_unusable(refused.name, refused.detail)
