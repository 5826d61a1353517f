"""Rows 35 and 39: nothing that is secret comes out, and nothing that is used up stays in."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.setup import KEY, UPSTREAM_SECRET
from tests.fakes.chaos import fin, reset
from tests.fakes.gateway import ADMIN_KEY
from tests.fakes.http import Answer, send
from tests.fakes.script import error, reply, sse
from tests.faults.other_apis import APIS
from tests.faults.setup import AUTH, MID_EVENT
from tests.faults.soak import MIB, MOST_BYTES_EACH, Held, Soak, excess, slope

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
CANARY = "canary-prompt-7f3a91"
ANSWER_CANARY = "canary-answer-5c20de"


def told(answer: Answer) -> str:
    """Everything an answer says."""
    return json.dumps(answer.headers) + answer.body.decode("utf-8", "replace")


def echoing(status: int) -> Iterator[object]:
    """Providers that quote the key in their errors, as some do."""
    for secret in (UPSTREAM_SECRET, f"Bearer {UPSTREAM_SECRET}", f"{UPSTREAM_SECRET[:20]}***"):
        yield error(status, f"Incorrect key {secret} provided", type_="server_error", code="bad")


def test_row_35_secret_and_prompt_canaries(gateway, upstream, chaos, lane, stream):
    """Neither a key of any side nor a word of a prompt or answer is in metrics, logs, headers or foreign answers."""
    said = []

    def ask(model, text=CANARY, key=KEY):
        answer = gateway.chat(model, text, headers={"authorization": f"Bearer {key}"}, stream=stream)
        said.append(told(answer))

    own = lane("patient-openai")
    upstream.script(own.upstream_model, *[script for status in (400, 401, 500) for script in echoing(status)])
    for _ in range(9):
        ask(own.sole)
    for fault in (reset(MID_EVENT), fin(MID_EVENT), reset(), fin()):
        broken = lane()
        chaos.always(broken.upstream_model, fault)
        ask(broken.sole, f"alpha beta gamma {CANARY}")
    for script in (
        reply(f"not JSON {ANSWER_CANARY} {UPSTREAM_SECRET}".encode()),
        sse([{"error": {"message": f"overloaded, {UPSTREAM_SECRET}", "type": "server_error"}}]),
        sse([f"{{broken {ANSWER_CANARY} {UPSTREAM_SECRET}"]),
    ):
        odd = lane("patient-openai")
        upstream.always(odd.upstream_model, script)
        ask(odd.sole)
    upstream.script(own.upstream_model, *echoing(500), *echoing(400))
    for api in APIS:
        bodies = [api.body(model, CANARY) for model in (own.sole, own.sole, "good")]
        said.extend(told(send(gateway.base_url + api.path, body, headers=AUTH)) for body in bodies)
    ask("good", key=f"{KEY}-wrong")
    said.append(told(send(f"{gateway.base_url}/chat/completions", f"{{{CANARY}".encode(), headers=AUTH)))
    said.append(told(send(f"{gateway.root_url}/readyz")))
    ask("good")
    request_id = json.loads(said[-1][: said[-1].index("}") + 1])["x-request-id"]
    gateway.wait_log(request_id)
    metrics = json.dumps(gateway.metrics())
    for secret in (UPSTREAM_SECRET, UPSTREAM_SECRET[:20], KEY, ADMIN_KEY):
        assert secret not in gateway.output()
        assert secret not in metrics
        assert not [text for text in said if secret in text]
    for canary in (CANARY, ANSWER_CANARY):
        assert canary not in gateway.output()
        assert canary not in metrics


def test_row_39_soak_with_aborts(gateway, upstream, chaos, lane):
    """Whole, streamed, cut, refused and abandoned requests in turn: memory, files and tasks end where they began.
    `python -m tests.faults.soak` goes on for longer.
    """
    soak = Soak(gateway, upstream, chaos, lane)
    soak.batch(40)  # pools, caches and allocators fill
    before, warm = soak.held(), soak.requests
    soak.batch(100)
    assert excess(before, soak.held(), soak.requests - warm) == []
    assert gateway.metric("signalbox_in_flight") <= 1
    assert gateway.metric("signalbox_tasks") < 50


def test_a_leak_is_told_from_a_step():
    """What the long soak says of memory that grows with every request, and of memory that grows now and then."""

    def held(bytes_of):
        return [(number, Held(70 * MIB + int(bytes_of(number)), 20, 5)) for number in range(10_000, 100_000, 2_500)]

    assert slope(held(lambda number: 64 * number)) > MOST_BYTES_EACH
    assert slope(held(lambda number: 64 * number + (number % 5_000) * 100)) > MOST_BYTES_EACH, "also where it is uneven"
    assert slope(held(lambda number: 23 * MIB * (number > 50_000))) == 0
    assert slope(held(lambda number: 0)[:3]) is None
    first, last = held(lambda number: 70 * MIB * (number > 50_000))[::35]
    assert excess(first[1], last[1], 90_000) != []
