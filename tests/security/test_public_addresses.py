"""A provider that has to be on the public network: where its name leads is looked at, and nothing else is called."""

import asyncio
import socket
import ssl

import pytest

from config.schema import ProviderConfig
from gateway.options import provider_problems
from providers.pool import Pool, PrivateAddressError, is_public

PRIVATE = (
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:10.1.2.3", "::ffff:169.254.169.254", "ff0e::1"),
)
PUBLIC = ("8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8")


@pytest.mark.parametrize("address", [*PRIVATE, *PUBLIC])
def test_what_is_public(address: str) -> None:
    assert is_public(address) is (address in PUBLIC)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_however_a_private_address_is_written_nobody_connects_there(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.05)

        async def connect() -> None:
            pool = Pool(connect_s=5.0, idle_s=1.0, tls=ssl.create_default_context(), is_public_only=True)
            with pytest.raises((PrivateAddressError, socket.gaierror)):
                await pool.connect((False, host, trap.getsockname()[1]))

        asyncio.run(connect())
        with pytest.raises(TimeoutError):
            trap.accept()


def test_a_name_that_leads_to_both_is_called_at_the_public_one(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []

    async def connected(addresses: list[tuple[object, ...]], **_: object) -> None:
        called.extend(address[4] for address in addresses)
        raise ConnectionRefusedError

    async def connect() -> None:
        async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
            stream = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*stream, ("10.0.0.1", 80)), (*stream, ("8.8.8.8", 80))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        pool = Pool(connect_s=5.0, idle_s=1.0, tls=ssl.create_default_context(), is_public_only=True)
        with pytest.raises(ConnectionRefusedError):
            await pool.connect((False, "api.example", 80))

    monkeypatch.setattr("aiohappyeyeballs.start_connection", connected)
    asyncio.run(connect())
    assert called == [("8.8.8.8", 80)]


def test_it_is_yes_or_no() -> None:
    row = {"kind": "openai", "api_key": "k", "public_only": "please"}
    (finding,) = provider_problems("up", ProviderConfig.model_validate(row))
    assert "true or false" in finding.message
    assert finding.path == ("providers", "up", "public_only")
