"""Who is calling."""

from hashlib import sha256

import pytest

from gateway.auth import ANONYMOUS, authenticate, is_admin
from gateway.runtime import Caller
from gateway.wire.refusals import RefusedError

SECRET = b"sk-one"
ONE = Caller("one", frozenset({"m"}))
KEYS = {sha256(SECRET).hexdigest(): ONE}


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer sk-one"},
        {b"authorization": b"bearer   sk-one "},
        {b"x-api-key": b"sk-one"},
        {b"authorization": b"Basic abc", b"x-api-key": b"sk-one"},
        {b"authorization": b"Bearer ", b"x-api-key": b"sk-one"},
    ],
)
def test_either_header(headers):
    assert authenticate(headers, KEYS) is ONE


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing_api_key"),
        ({b"x-api-key": b""}, "missing_api_key"),
        ({b"authorization": b"sk-one"}, "missing_api_key"),
        ({b"authorization": b"Bearer sk-two"}, "invalid_api_key"),
        ({b"authorization": b"Bearer " + sha256(SECRET).hexdigest().encode()}, "invalid_api_key"),
        ({b"x-api-key": b"x" * 100_000}, "invalid_api_key"),
        ({b"x-api-key": b"\xff\x00"}, "invalid_api_key"),
    ],
)
def test_refused(headers, reason):
    with pytest.raises(RefusedError) as caught:
        authenticate(headers, KEYS)
    assert caught.value.reason == reason
    assert caught.value.refusal.status == 401
    assert "sk-" not in str(caught.value.refusal)


def test_an_open_gateway_asks_nobody():
    assert authenticate({b"authorization": b"Bearer anything"}, {}) is ANONYMOUS
    assert ANONYMOUS.may_use("everything")
    assert ONE.may_use("m")
    assert not ONE.may_use("n")


@pytest.mark.parametrize(("given", "expected"), [(b"k\xc3\xa4y", True), (b"key", False), (b"", False)])
def test_the_admin_key(given, expected):
    assert is_admin({b"authorization": b"Bearer " + given}, "käy") is expected
    assert not is_admin({}, "käy")
