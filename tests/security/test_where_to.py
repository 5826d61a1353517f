"""Where the process connects to: to what the file names, whatever the environment or a provider would rather have."""

import socket

import pytest

from tests.fakes.gateway import Gateway
from tests.fakes.script import Script, reply
from tests.fakes.upstream import FakeUpstream

pytestmark = pytest.mark.e2e
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "no_proxy")
PROVIDERS = {"m": "up", "private": "inside"}
ADDRESSES = ("OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_BASE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT")


def test_neither_environment_nor_redirects_move_a_call(upstream: FakeUpstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.3)
        elsewhere = f"http://127.0.0.1:{trap.getsockname()[1]}"
        env = dict.fromkeys((*PROXIES, *ADDRESSES), elsewhere) | {"no_proxy": "", "NETRC": "/dev/null"}
        config = {
            "providers": {
                "up": {"kind": "openai", "api_key": "sk-secret", "base_url": f"{upstream.base_url}/v1"},
                "inside": {"kind": "openai", "api_key": "sk-secret", "base_url": elsewhere, "public_only": True},
            },
            "models": {name: {"deployments": [{"provider": p, "model": "up-m"}]} for name, p in PROVIDERS.items()},
            "policies": {"retry": {"max_attempts": 1}, "breaker": {"failures": 100, "error_rate": 1}},
        }
        with Gateway(config, env=env) as gateway:
            assert gateway.chat("m").status == 200
            for status in (301, 302, 303, 307, 308):
                upstream.script("up-m", Script(status, (("location", f"{elsewhere}/v1"),), (b"",)))
                assert gateway.chat("m").status >= 500
            refused = gateway.chat("private")
            assert refused.status == 502
            assert "public_only" in refused.error["attempts"][0]["message"]
            # Addresses inside an answer are text, also where other gateways load them.
            upstream.script("up-m", reply({"error": {"message": f"see {elsewhere}"}}, status=400))
            assert gateway.chat("m").status == 400
            picture = [{"type": "image_url", "image_url": {"url": f"{elsewhere}/latest/meta-data"}}]
            assert gateway.chat("m", picture).status == 200  # type: ignore[arg-type]
            with pytest.raises(TimeoutError):
                trap.accept()
        assert {call.header("host") for call in upstream.requests()} == {upstream.base_url.removeprefix("http://")}


def test_files_and_other_schemes_are_no_addresses(upstream: FakeUpstream) -> None:
    for address in ("file:///etc/passwd", "gopher://127.0.0.1/", "unix:///run/docker.sock", "http://"):
        config = {"providers": {"up": {"kind": "openai", "api_key": "k", "base_url": address}}}
        with pytest.raises(AssertionError, match="base_url"), Gateway(config):
            pass
