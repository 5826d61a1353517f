"""From a Call to bytes at the right address, and what failing to get there is called."""

import asyncio
import socket
from typing import Any

import pytest

from providers.base import Call, Cause, ErrorKind, ProviderError
from providers.transport import HttpTransport
from tests.fakes.loops import both_loops
from tests.fakes.promptness import typically
from tests.fakes.raw import HEADERS, LIMIT, Peer, RawServer, answer, chunked, fetch, open_files, serving, stream, until


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def forever(peer: Peer) -> None:
    while True:
        await peer.answer(answer(b"ok"))


async def failure(call: Call, *, connect_s: float = 2.0) -> ProviderError:
    transport = HttpTransport(connect_s=connect_s)
    with pytest.raises(ProviderError) as caught:
        await fetch(transport, call)
    return caught.value


@both_loops
async def test_the_request_is_exactly_this() -> None:
    async with serving(forever) as (server, transport):
        await fetch(
            transport, Call(server.url + "?api-version=1#part", [("X-One", "1"), ("authorization", "k\xe9y")], b"{}")
        )
        head, body = server.peers[0].requests[0]
        assert head.decode("latin-1").split("\r\n") == [
            "POST /v1/chat/completions?api-version=1 HTTP/1.1",
            f"host: 127.0.0.1:{server.port}",
            "accept-encoding: identity",
            "X-One: 1",
            "authorization: k\xe9y",
            "content-length: 2",
            "",
            "",
        ]
        assert body == b"{}"


@both_loops
async def test_each_call_has_its_own_method_address_and_headers() -> None:
    async with serving(forever) as (server, transport):
        base = server.url
        calls = [
            Call(base, [("x", "1")], b"a"),
            Call(base, [("x", "2")], b"bc"),
            Call(base, [], b"", method="GET"),
            Call(base + "/x", HEADERS, b"d"),
            Call(base.replace("/v1/chat/completions", ""), HEADERS, b""),
            Call(base, HEADERS, b"", method="DELETE"),
        ]
        for call in calls * 2:
            assert await fetch(transport, call) == (200, b"ok")
        heads = [head.decode() for head, _ in server.peers[0].requests]
        assert heads[:6] == heads[6:]
        assert [head.partition(" HTTP")[0] for head in heads[:6]] == [
            "POST /v1/chat/completions",
            "POST /v1/chat/completions",
            "GET /v1/chat/completions",
            "POST /v1/chat/completions/x",
            "POST /",
            "DELETE /v1/chat/completions",
        ]
        assert ["x: 1" in head for head in heads[:3]] == [True, False, False]
        assert ["x: 2" in head for head in heads[:3]] == [False, True, False]


@both_loops
async def test_thousands_of_addresses_are_not_remembered_for_ever() -> None:
    transport = HttpTransport(connect_s=1)
    for n in range(3000):
        transport.open(Call(f"http://127.0.0.1/{n}", HEADERS, b""))
    transport.open(Call("http://127.0.0.1/" + "x" * 100_000, HEADERS, b""))
    assert len(transport._targets) <= 1024
    assert all(len(url) < 10_000 for url, _ in transport._targets)


@pytest.mark.parametrize(
    "url",
    [
        "", "example", "//example/", "ftp://example/", "file:///etc/passwd", "http://", "http:///path", "http://[::1",
        "http://host:99999/", "http://host:port/", "http://host:-1/", "http://a b/", "http://host/a b", "http://host/\x7f",
        "http://host/caf\u00e9", "http://caf\u00e9/", "http://host/?a=\u2028",
    ],
)  # fmt: skip
@both_loops
async def test_an_address_that_is_none_is_our_own_fault(url) -> None:
    error = await failure(Call(url, HEADERS, b""))
    assert (error.kind, error.cause) == (ErrorKind.LOCAL, Cause.CONNECT)
    assert error.message.startswith("The provider's address ")


@pytest.mark.parametrize("name", ["http://host/a\r\nx: y", "http://host/\tb", "http://ho\nst/"])
def test_line_breaks_in_an_address_are_never_sent(name) -> None:
    """urlsplit drops them; whatever is left, there is one request line and one host."""
    transport = HttpTransport(connect_s=1)
    try:
        exchange = transport.open(Call(name, [], b""))
    except ProviderError:
        return
    assert exchange._head.count(b"\r\n") == 5
    assert exchange._head.split(b"\r\n")[0].count(b" ") == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nb: c"), ("x", "a\nb"), ("x", "a\0"), ("x", "\u2028"), ("x", "\x1b"), ("x\r\ny", "a"), ("x y", "a"),
        ("x:", "a"), ("", "a"), ("\u00e9", "a"), ("content-length", "5"), ("Content-Length", "5"), ("HOST", "a"),
        ("transfer-encoding", "chunked"), ("Upgrade", "h2c"),
    ],
)  # fmt: skip
def test_headers_cannot_change_the_framing(name, value) -> None:
    with pytest.raises(ProviderError, match="header ") as caught:
        HttpTransport(connect_s=1).open(Call("http://127.0.0.1/", [("a", "b"), (name, value)], b""))
    assert caught.value.kind is ErrorKind.LOCAL
    assert value == "a" or value not in caught.value.message


@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "post", "", "GET /x HTTP/1.1\r\nx: y\r\n\r\nPOST"])
def test_methods_with_other_answers_are_refused(method) -> None:
    with pytest.raises(ProviderError) as caught:
        HttpTransport(connect_s=1).open(Call("http://127.0.0.1/", [], b"", method=method))
    assert caught.value.kind is ErrorKind.LOCAL


@both_loops
async def test_a_refused_port() -> None:
    error = await failure(Call(f"http://127.0.0.1:{refused_port()}/", HEADERS, b""))
    assert (error.kind, error.cause) == (ErrorKind.BROKEN, Cause.CONNECT)
    assert error.message == "No connection to the provider: Connection refused."


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int] | OSError) -> list[str]:
    """Make the loop find these addresses, of whatever family, for every name. Returns the names asked for."""
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        found = []
        # uvloop resolves once more what it connects to.
        for address in [(host, port)] if host.replace(".", "").isdigit() else addresses:
            if isinstance(address, OSError):
                raise address
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            found.append((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address))
        return found

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


@both_loops
async def test_a_name_that_nobody_knows(monkeypatch) -> None:
    resolving(monkeypatch, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    error = await failure(Call("http://nowhere.example/", HEADERS, b""))
    assert (error.kind, error.cause) == (ErrorKind.BROKEN, Cause.CONNECT)
    assert error.message == (
        "No connection to the provider: its name could not be resolved (Name or service not known)."
    )


@pytest.mark.parametrize("host", ["a" * 64 + ".localhost", "a..localhost", "xn--\u00df.localhost"])
@both_loops
async def test_a_name_that_cannot_be_one(host, monkeypatch) -> None:
    if host.isascii():
        resolving(monkeypatch)  # must not be reached with anything else than an error of its own

        async def getaddrinfo(host: str, *_: Any, **__: Any) -> Any:
            raise UnicodeError(f"encoding with 'idna' codec failed: {host.encode('idna')!r}")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    error = await failure(Call(f"http://{host}/", HEADERS, b""))
    assert error.cause is Cause.CONNECT
    assert error.kind in (ErrorKind.BROKEN, ErrorKind.LOCAL)


@both_loops
async def test_the_second_address_answers_when_the_first_refuses(monkeypatch) -> None:
    async with serving(forever) as (server, transport):
        resolving(monkeypatch, ("127.0.0.1", refused_port()), ("127.0.0.1", server.port))

        async def once() -> float:
            began = asyncio.get_running_loop().time()
            assert await fetch(transport, Call("http://two.example/", HEADERS, b""), fresh=True) == (200, b"ok")
            return asyncio.get_running_loop().time() - began

        assert await typically(once, 0.2) < 0.2, "a refusal is not waited for as a silent address is"


@both_loops
async def test_the_second_address_answers_when_the_first_is_silent(monkeypatch, record_property) -> None:
    """RFC 8305: a quarter of a second later. Silence is a full queue: the kernel drops what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        port = silent.getsockname()[1]
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        async with serving(forever) as (server, transport):
            files = open_files()
            resolving(monkeypatch, ("127.0.0.1", port), ("127.0.0.1", server.port))

            async def once() -> float:
                began = asyncio.get_running_loop().time()
                assert await fetch(transport, Call("http://two.example/", HEADERS, b""), fresh=True) == (200, b"ok")
                took_s = asyncio.get_running_loop().time() - began
                record_property("second address answers after ms", round(took_s * 1000))
                assert took_s > 0.2
                return took_s

            assert await typically(once, 0.8) < 0.8
            # Client and server side of each connection, and nothing of the attempts at the other address.
            await until(lambda: open_files() <= files + 2 * len(server.peers))
        for filler in fillers:
            filler.close()


@both_loops
async def test_all_addresses_fail(monkeypatch) -> None:
    resolving(monkeypatch, ("127.0.0.1", refused_port()), ("127.0.0.1", refused_port()))
    error = await failure(Call("http://two.example/", HEADERS, b""))
    assert error.message == "No connection to the provider: Connection refused."
    assert "127.0.0.1" not in error.message


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@both_loops
async def test_an_ipv6_address() -> None:
    async with RawServer(forever, host="::1") as server:
        transport = HttpTransport(connect_s=2)
        assert await fetch(transport, server.call()) == (200, b"ok")
        assert f"host: [::1]:{server.port}\r\n".encode() in server.peers[0].requests[0][0]
        await transport.close()


@both_loops
async def test_userinfo_is_not_sent() -> None:
    async with serving(forever) as (server, transport):
        await fetch(transport, Call(server.url.replace("127.", "user:secret@127."), HEADERS, b""))
        assert b"secret" not in server.peers[0].requests[0][0]


@both_loops
async def test_proxies_of_the_environment_are_not_asked(monkeypatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{refused_port()}")
    async with serving(forever) as (server, transport):
        assert await fetch(transport, server.call()) == (200, b"ok")


@both_loops
async def test_two_hundred_exchanges_at_once() -> None:
    """Answers of different shapes and sizes, out of order: each caller gets the answer to its own request."""

    async def script(peer: Peer) -> None:
        while True:
            _, body = await peer.request()
            number = int(body)
            await asyncio.sleep(number % 7 * 0.001)
            data = body * (number % 50 + 1)
            await peer.send(chunked(*[body] * (number % 50 + 1)) if number % 2 else answer(data))

    async with serving(script) as (server, transport):

        async def one(number: int) -> None:
            body = b"%06d" % number
            read = stream if number % 3 else fetch
            assert await read(transport, server.call(body)) == (200, body * (number % 50 + 1))

        for start in (0, 200, 400):
            await asyncio.gather(*(one(start + n) for n in range(200)))
        assert len(server.peers) == 200
        async with transport.open(server.call(b"1")) as exchange:
            assert await exchange.read(LIMIT) == b"11"
