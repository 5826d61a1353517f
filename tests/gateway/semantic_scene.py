"""Traffic that a gateway can learn from: facts, asked for in many words, and a provider that knows them."""

import json
import time
from typing import Any

from tests.e2e.setup import key_row
from tests.fakes.gateway import Gateway
from tests.fakes.http import Answer, send
from tests.fakes.script import Script, reply
from tests.fakes.upstream import FakeUpstream, Recorded

_PATIENCE_S = 20.0
KEYS = {name: f"sk-semantic-{name}" for name in ("ann", "bob", "cat", "dan")}
_PAIRS = """
Kenya=Nairobi France=Paris Japan=Tokyo Peru=Lima Egypt=Cairo Norway=Oslo Cuba=Havana Ghana=Accra Nepal=Kathmandu
Chile=Santiago Italy=Rome Spain=Madrid Greece=Athens Poland=Warsaw Austria=Vienna Portugal=Lisbon Ireland=Dublin
Denmark=Copenhagen Finland=Helsinki Sweden=Stockholm Iran=Tehran Iraq=Baghdad Cyprus=Nicosia Malta=Valletta
Canada=Ottawa Brazil=Brasilia India=Delhi China=Beijing Russia=Moscow Germany=Berlin Turkey=Ankara Kuwait=Kuwait
Morocco=Rabat Algeria=Algiers Tunisia=Tunis Libya=Tripoli Sudan=Khartoum Ethiopia=Addis Uganda=Kampala Rwanda=Kigali
Angola=Luanda Zambia=Lusaka Zimbabwe=Harare Senegal=Dakar Mongolia=Ulaanbaatar Thailand=Bangkok Vietnam=Hanoi
"""
CAPITALS = dict(pair.split("=") for pair in _PAIRS.split())
WORDINGS = (
    "What is the capital of {}?",
    "What's the capital city of {}?",
    "Which city is the capital of {}?",
    "Tell me the capital of {}.",
    "Please name the capital city of {}.",
    "Could you tell me what the capital city of {} is?",
    "Give me the name of the capital of {}.",
    "What is the name of {}'s capital?",
    "I need to know the capital of {}.",
    "Do you know what the capital of {} is?",
)
_PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}


def config(upstream: FakeUpstream, **semantic: Any) -> dict[str, Any]:
    """Keys of their own and of a group; `taught` is answered by meaning, `plain` is not."""
    section = {"enabled": False, "max_wrong_hits": 0.1, "shadow_ratio": 0.0001} | semantic
    names = ("taught", "checked", "plain")
    return {
        "providers": {"oa": {"kind": "openai", "api_key": "sk-up", "base_url": f"{upstream.base_url}/v1"}},
        "models": {"m": {"deployments": [{"provider": "oa", "model": "up"}], "price": _PRICE}},
        "routes": {
            name: {"pool": ["m"]} | ({} if name == "plain" else {"semantic_cache": {"enabled": True}}) for name in names
        },
        "keys": [key_row(name, secret) for name, secret in KEYS.items()],
        "policies": {
            "cache": {
                "exact": {"enabled": True, "normalise": True},
                "semantic": section,
                "share": {"team": ["cat", "dan"]},
            }
        },
    }


def provider(asked: Recorded) -> Script:
    """It knows the capitals."""
    text = asked.json["messages"][-1]["content"]
    said = next((city for country, city in CAPITALS.items() if country in text), "I do not know.")
    if asked.json.get("stream"):
        return _stream(said)
    message = {"role": "assistant", "content": said}
    return reply(_body("chat.completion", {"message": message, "finish_reason": "stop"}) | {"usage": _USAGE})


_USAGE = {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}


def _body(kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": "c-1", "object": kind, "created": 1, "model": "up", "choices": [{"index": 0} | choice]}


def _stream(said: str) -> Script:
    deltas: list[dict[str, Any]] = [{"delta": {"role": "assistant", "content": said}, "finish_reason": None}]
    deltas.append({"delta": {}, "finish_reason": "stop"})
    frames = "".join(f"data: {json.dumps(_body('chat.completion.chunk', one))}\n\n" for one in deltas)
    return Script(200, (("content-type", "text/event-stream"),), (f"{frames}data: [DONE]\n\n".encode(),), "chunked")


def ask(gateway: Gateway, text: str, key: str = "ann", route: str = "taught", **more: Any) -> Answer:
    """A question of one key."""
    body = {"model": route, "messages": [{"role": "user", "content": text}]} | more
    return send(f"{gateway.base_url}/chat/completions", body, headers={"authorization": f"Bearer {KEYS[key]}"})


def wait_calls(gateway: Gateway, purpose: str, count: int) -> None:
    """Until the ledger has so many calls of `ann` for this purpose; it is written when there is time."""
    deadline = time.monotonic() + _PATIENCE_S
    while (found := _calls(gateway, purpose).get("ann", 0)) < count:
        assert time.monotonic() < deadline, f"{found} calls for {purpose}, not {count}"
        time.sleep(0.02)


def _calls(gateway: Gateway, purpose: str) -> dict[str, int]:
    found = gateway.admin(f"spend?by=key&where=purpose={purpose}").json["data"]
    return {row["by"]["key"]: row["calls"] for row in found}


def teach(gateway: Gateway, key: str = "ann", route: str = "taught", **more: Any) -> int:
    """Ask everything in every wording but the last, until hits by meaning begin. Returns after how many questions."""
    count = 0
    for country in list(CAPITALS)[:-2]:
        for wording in WORDINGS[:-1]:
            count += 1
            if ask(gateway, wording.format(country), key, route, **more).headers["x-signalbox-cache"] == "semantic":
                return count
    raise AssertionError(f"no hit by meaning in {count} questions: {gateway.admin('cache').json}")
