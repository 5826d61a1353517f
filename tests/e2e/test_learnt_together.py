"""What was learnt by meaning outlives the process, and all workers know it; feedback may reach any of them."""

import time

import pytest

from tests.fakes.gateway import Gateway
from tests.fakes.http import send
from tests.gateway.semantic_scene import CAPITALS, KEYS, WORDINGS, ask, config, provider, teach

pytestmark = pytest.mark.e2e
_LAST = list(CAPITALS)[-2:]  # those that `teach` does not ask about


def _hits(gateway, country):
    """In all wordings, of which the first are misses in each worker. Returns the ids of the requests that were hits."""
    asked = [ask(gateway, wording.format(country)) for wording in WORDINGS]
    return [one.headers["x-request-id"] for one in asked if one.headers["x-signalbox-cache"] == "semantic"]


def _wait_hits(gateway, country):
    deadline = time.monotonic() + 30
    while not (found := _hits(gateway, country)):
        gateway.admin("cache/purge", {"all": True})
        assert time.monotonic() < deadline, gateway.admin("cache").json
    return found


def _tell(gateway, request_id, key="ann"):
    body = {"request_id": request_id, "wrong_cache_hit": True}
    return send(f"{gateway.base_url}/feedback", body, headers={"authorization": f"Bearer {KEYS[key]}"}).status


def _wait_told(gateway, request_id):
    """Until whoever is asked knows the hit: others than the one that answered do so a moment later."""
    deadline = time.monotonic() + 30
    while (status := _tell(gateway, request_id)) == 404:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert status == 200


def test_what_one_has_learnt_the_workers_after_it_know(upstream, tmp_path):
    upstream.on(provider)
    env = {"SIGNALBOX_STATE_DIR": str(tmp_path)}
    with Gateway(config(upstream), env=env) as gateway:
        assert teach(gateway) > 100
        hits = [_wait_hits(gateway, country) for country in _LAST]
        gateway.wait_metric("signalbox_cache_labels_total", 100, source="miss", verdict="right")
    with Gateway(config(upstream), workers=2, env=env) as gateway:
        assert _wait_hits(gateway, _LAST[0]), "it serves from the beginning"
        before = gateway.metric("signalbox_cache_labels_total", source="miss")
        assert before < 40
        assert _tell(gateway, hits[0][0], "bob") == 404
        for request_id in (*hits[0][:2], *hits[1][:2]):
            _wait_told(gateway, request_id)  # of a process that is gone
        assert [_tell(gateway, request_id) for request_id in (hits[0][0], hits[1][0])] == [404, 404]
        assert gateway.wait_metric("signalbox_cache_labels_total", 4, source="feedback", verdict="wrong") == 4
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if "lessons" in str(path) and path.is_file())
    assert len(written) > 20_000
    assert not any(word in written for word in (b"capital", b"Nairobi", KEYS["ann"].encode(), b"taught", b"key:ann"))
