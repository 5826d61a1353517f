"""Scores for answers, over a real gateway: who may give them, what is kept of a request, and what is not."""

import json
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from routing.features import extract
from tests.fakes.gateway import Gateway
from tests.fakes.http import Answer, send

pytestmark = pytest.mark.e2e
ANN, BOB = ({"authorization": f"Bearer sk-{name}"} for name in ("ann-secret", "bob-secret"))
SECTION = {"file": "./feedback.jsonl"}
ARITHMETIC = "What is 17 times 23? Show the steps."


def config(feedback: dict[str, Any] | None = None) -> dict[str, Any]:
    keys = [{"name": name, "sha256": sha256(f"sk-{name}-secret".encode()).hexdigest()} for name in ("ann", "bob")]
    found = {
        "providers": {"sim": {"kind": "mock"}},
        "models": {"small": {"deployments": [{"provider": "sim", "model": "s1"}]}},
        "routes": {"auto": {"pool": ["small"]}},
        "keys": keys,
    }
    return found if feedback is None else found | {"feedback": feedback}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway(config(SECTION)) as running:
        yield running


def ask(gateway: Gateway, text: str, headers: dict[str, str] = ANN, **more: Any) -> Answer:
    body = {"model": "auto", "messages": [{"role": "user", "content": text}]} | more
    answer = send(f"{gateway.base_url}/chat/completions", body, headers=headers)
    assert answer.status == 200, answer.body
    return answer


def score(gateway: Gateway, body: Any, headers: dict[str, str] = ANN) -> Answer:
    return send(f"{gateway.base_url}/feedback", body, headers=headers)


def rows(gateway: Gateway, request_id: str) -> list[dict[str, Any]]:
    file = gateway.folder / "feedback.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [row for row in map(json.loads, lines) if row["request_id"] == request_id]


def wait_rows(gateway: Gateway, request_id: str) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 5
    while not (found := rows(gateway, request_id)):
        assert time.monotonic() < deadline, f"no row for {request_id}"
        time.sleep(0.02)
    return found


def test_a_score_becomes_a_row_for_training(gateway: Gateway) -> None:
    answer = ask(gateway, ARITHMETIC, ANN | {"x-signalbox-tags": "application=sums"})
    request_id = answer.headers["x-request-id"]
    scored = score(gateway, {"request_id": request_id, "score": 0.75})
    assert scored.status == 200, scored.body
    assert scored.json == {"object": "feedback", "request_id": request_id, "model": "small", "score": 0.75}
    (row,) = rows(gateway, request_id)
    assert row["prompt"] == ARITHMETIC
    assert row["scores"] == {"small": 0.75}
    assert 0 < row["latency_s"]["small"] < 5
    assert row["application"] == "sums"
    assert "weak" not in row


def test_the_rows_are_what_train_reads(gateway: Gateway) -> None:
    pytest.importorskip("numpy")
    from routing.learned.feedback import parse

    request_id = ask(gateway, "Translate 'good evening' into Dutch.").headers["x-request-id"]
    score(gateway, {"request_id": request_id, "score": 1})
    line = json.dumps(rows(gateway, request_id)[-1]).encode()
    examples = parse([line])
    assert examples.models == ("small",)
    assert examples.scores.tolist() == [[1.0]]
    body = {"messages": [{"role": "user", "content": "Translate 'good evening' into Dutch."}]}
    found, expected = examples.features[0], extract(body)
    assert (found.values, found.words) == (expected.values, expected.words)


def test_the_last_score_counts_and_its_row_says_all(gateway: Gateway) -> None:
    request_id = ask(gateway, "Name three rivers.").headers["x-request-id"]
    for value, model in ((0.2, "small"), (0.9, "sim/s1"), (0, None)):
        given = {"request_id": request_id, "score": value} | ({} if model is None else {"model": model})
        answer = score(gateway, given)
        assert answer.json["model"] == "small"
    assert [row["scores"]["small"] for row in rows(gateway, request_id)] == [0.2, 0.9, 0.0]


def test_streams_can_be_scored_at_once(gateway: Gateway) -> None:
    answer = ask(gateway, "Tell me a story about a lighthouse.", stream=True)
    assert score(gateway, {"request_id": answer.headers["x-request-id"], "score": 0.5}).status == 200


def test_only_the_key_that_asked_may_score(gateway: Gateway) -> None:
    request_id = ask(gateway, "A question of Ann's.").headers["x-request-id"]
    foreign = score(gateway, {"request_id": request_id, "score": 0}, BOB)
    unknown = score(gateway, {"request_id": "req_of_nobody", "score": 0}, BOB)
    assert foreign.status == unknown.status == 404
    assert foreign.error["code"] == unknown.error["code"] == "request_not_found"
    assert foreign.error["message"].replace(request_id, "") == unknown.error["message"].replace("req_of_nobody", "")
    assert score(gateway, {"request_id": request_id, "score": 0}, {}).status == 401
    assert rows(gateway, request_id) == []


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"score": 1}, "request_id", "missing"),
        ({"request_id": "x"}, "score", "missing"),
        ({"request_id": 7, "score": 1}, "request_id", "string"),
        ({"request_id": "x", "score": 1.01}, "score", "from 0"),
        ({"request_id": "x", "score": -1}, "score", "from 0"),
        ({"request_id": "x", "score": True}, "score", "from 0"),
        ({"request_id": "x", "score": "1"}, "score", "from 0"),
        ({"request_id": "x", "score": 1, "model": 5}, "model", "string"),
        ({"request_id": "x", "score": 1, "modle": "m"}, "modle", "no field"),
    ],
)
def test_what_is_no_score_is_explained(gateway: Gateway, body: Any, param: str, says: str) -> None:
    answer = score(gateway, body)
    assert answer.status == 400
    assert answer.error["param"] == param
    assert says in answer.error["message"]


@pytest.mark.parametrize("raw", [b"", b"[1]", b"{", b'{"score": NaN}', b"\xff"])
def test_what_is_no_object_is_refused(gateway: Gateway, raw: bytes) -> None:
    assert score(gateway, raw).status == 400


def test_limits_of_the_endpoint(gateway: Gateway) -> None:
    assert score(gateway, b" " * 20_000).status == 413
    assert send(f"{gateway.base_url}/feedback", headers=ANN).status == 405
    assert score(gateway, b'{"request_id": "x", "score": 1}', ANN | {"content-type": "text/plain"}).status == 415


def test_a_model_that_did_not_answer_cannot_be_scored(gateway: Gateway) -> None:
    request_id = ask(gateway, "Who wrote this?").headers["x-request-id"]
    answer = score(gateway, {"request_id": request_id, "score": 1, "model": "large"})
    assert answer.status == 400
    assert "'small'" in answer.error["message"]


def test_asking_again_is_a_weak_label_that_a_score_replaces(gateway: Gateway) -> None:
    first = ask(gateway, "Explain tides.").headers["x-request-id"]
    ask(gateway, "Explain tides.", BOB)
    assert rows(gateway, first) == []
    ask(gateway, "Explain tides.")
    (row,) = wait_rows(gateway, first)
    assert row["scores"] == {"small": 0.3}
    assert row["weak"] == ["small"]
    score(gateway, {"request_id": first, "score": 1})
    assert rows(gateway, first)[-1]["scores"] == {"small": 1.0}
    assert "weak" not in rows(gateway, first)[-1]


def test_an_answer_that_is_not_the_json_asked_for_is_a_weak_label(gateway: Gateway) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    asked = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    good = ask(gateway, "Give me a person.", response_format=asked)
    (row,) = wait_rows(gateway, good.headers["x-request-id"])
    assert row["scores"] == {"small": 1.0}, good.text
    assert row["weak"] == ["small"]


def test_neither_prompt_nor_answer_is_logged(gateway: Gateway) -> None:
    canary = "canary-wx7-marmalade"
    answer = ask(gateway, f"Repeat {canary}")
    score(gateway, {"request_id": answer.headers["x-request-id"], "score": 1})
    assert gateway.wait_log(answer.headers["x-request-id"])
    assert canary not in gateway.output()
    assert canary in (gateway.folder / "feedback.jsonl").read_text()


def test_the_file_is_for_its_owner_only(gateway: Gateway) -> None:
    request_id = ask(gateway, "A private matter.").headers["x-request-id"]
    score(gateway, {"request_id": request_id, "score": 1})
    assert (gateway.folder / "feedback.jsonl").stat().st_mode & 0o777 == 0o600


def test_it_is_off_until_the_section_is_there_and_says_where_it_cannot_write() -> None:
    with Gateway(config()) as gateway:
        request_id = ask(gateway, "Hello").headers["x-request-id"]
        off = score(gateway, {"request_id": request_id, "score": 1})
        assert off.status == 404
        assert off.error["code"] == "feedback_off"
        assert "feedback:" in off.error["hint"]
        assert not list(gateway.folder.glob("*.jsonl*"))

        gateway.write(config({"file": "no/such/folder/feedback.jsonl"}))
        deadline = time.monotonic() + 5
        while score(gateway, {"request_id": "x", "score": 1}).error["code"] == "feedback_off":
            assert time.monotonic() < deadline, gateway.output()
        request_id = ask(gateway, "Hello again").headers["x-request-id"]
        lost = score(gateway, {"request_id": request_id, "score": 1})
        assert lost.status == 500
        assert lost.error["code"] == "feedback_not_written"
        while '"event":"feedback lost"' not in gateway.output():
            assert time.monotonic() < deadline + 5, gateway.output()
            time.sleep(0.02)


def test_several_workers_say_that_scores_may_miss() -> None:
    with Gateway(config(SECTION), workers=2) as gateway:
        ready = send(f"{gateway.root_url}/readyz").json
    assert any("use one worker" in notice for notice in ready["notices"])
