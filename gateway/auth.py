"""Who is calling: virtual keys in `Authorization: Bearer` or `x-api-key`."""

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest

from gateway.runtime import Caller
from gateway.wire import refusals

ANONYMOUS = Caller("anonymous")
_MAX_KEY_BYTES = 512


def authenticate(headers: Mapping[bytes, bytes], keys: Mapping[str, Caller]) -> Caller:
    """The caller of a data-plane request. With no keys configured the gateway is open. Raises RefusedError (401).

    Only digests are compared and looked up, so that timing tells nothing about a secret.
    """
    if not keys:
        return ANONYMOUS
    secret = presented_secret(headers)
    if secret is None:
        raise refusals.missing_key()
    caller = keys.get(sha256(secret).hexdigest()) if len(secret) <= _MAX_KEY_BYTES else None
    if caller is None:
        raise refusals.invalid_key()
    return caller


def presented_secret(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The credential in either header; SDKs of different ages use different ones."""
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, secret = authorization.partition(b" ")
        if scheme.lower() == b"bearer" and secret:
            return secret.strip()
    return headers.get(b"x-api-key") or None


def is_admin(headers: Mapping[bytes, bytes], admin_key: str) -> bool:
    """Whether the credential is the admin key (constant time)."""
    secret = presented_secret(headers)
    return secret is not None and compare_digest(sha256(secret).digest(), sha256(admin_key.encode()).digest())
