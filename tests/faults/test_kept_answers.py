"""Row 38: what was answered to one tenant is never another's, whatever the request and however it is asked."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.setup import KEY, key_row, standard_config
from tests.fakes.gateway import Gateway, GatewayPool
from tests.fakes.http import Answer, send
from tests.fakes.upstream import FakeUpstream
from tests.faults.other_apis import CROWD, Api

_TENANTS = [f"{KEY}-tenant-{number}" for number in range(6)]


@pytest.fixture
def keeping(gateways: GatewayPool, upstream: FakeUpstream) -> Gateway:
    """A gateway that keeps answers, with many tenants."""
    config = standard_config(upstream)
    config["keys"] += [key_row(f"tenant-{number}", secret) for number, secret in enumerate(_TENANTS)]
    config["policies"]["cache"] = {"exact": {"enabled": True}, "serve_stale_on_error": True}
    return gateways.get(config)


def _ask(gateway: Gateway, api: Api, text: str, secret: str) -> Answer:
    headers = {"authorization": f"Bearer {secret}"}
    return send(gateway.base_url + api.path, api.body("chat-openai", text), headers=headers)


@pytest.mark.parametrize("api", CROWD, ids=lambda api: api.name)
def test_row_38_the_same_prompt_of_another_tenant(keeping: Gateway, upstream: FakeUpstream, api: Api) -> None:
    """Everybody asks the same at once, and then again: one call for each, and nobody gets what was made for another."""
    text = f"the same of all, {api.name}"
    misses = keeping.metric("signalbox_cache_requests_total", result="miss")
    for expected in ({"miss"}, {"hit"}):
        with ThreadPoolExecutor(len(_TENANTS)) as pool:
            answers = list(pool.map(lambda secret: _ask(keeping, api, text, secret), _TENANTS))
        assert {answer.status for answer in answers} == {200}
        assert {answer.headers["x-signalbox-cache"] for answer in answers} == expected
        assert len(upstream.requests()) == len(_TENANTS)
    keeping.wait_metric("signalbox_cache_requests_total", misses + len(_TENANTS), result="miss")
