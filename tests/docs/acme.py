"""The vendor that docs/how-to/add-a-dialect.md invents, as a fake provider would answer for it."""

import json

from tests.fakes.script import Script, error, reply
from tests.fakes.upstream import Recorded

_WORDS = ("Hello", " from", " Acme")


def answer_as_acme(request: Recorded) -> Script | None:
    """POST /generate: whole, or one event per word."""
    if not request.path.endswith("/generate"):
        return None
    if request.header("x-acme-key") is None:
        return error(401, "no key")
    said = request.json
    assert set(said) <= {"engine", "turns", "stream", "length"}, said
    assert all(set(turn) == {"who", "words"} for turn in said["turns"]), said
    end = {"end": "complete", "tokens": {"in": 7, "out": len(_WORDS)}}
    if not said.get("stream"):
        return reply({"words": "".join(_WORDS), **end})
    events = [{"words": word} for word in _WORDS] + [end]
    pieces = tuple(f"data: {json.dumps(event)}\n\n".encode() for event in events)
    return Script(200, (("content-type", "text/event-stream"),), pieces, "chunked")
