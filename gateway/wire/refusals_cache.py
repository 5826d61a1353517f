"""Our own "no" about kept answers."""

from gateway.wire.refusals import RefusedError
from policies.outcome import Refusal
from providers.base import error_object


def not_kept() -> RefusedError:
    """504: only a kept answer was wanted, and there is none (RFC 9111, 5.2.1.7)."""
    message = "No answer to this request is kept, and 'only-if-cached' forbids to ask for one. Send it without that."
    error = error_object(message, "invalid_request_error", None, "not_cached")
    return RefusedError("not_cached", Refusal(504, error, [(b"x-should-retry", b"false")]))
