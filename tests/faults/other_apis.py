"""All inbound APIs, for rows of the matrix: what is asked, and what the answer has to say."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.fakes.dialects.openai import DIMENSIONS, vector
from tests.fakes.gateway import Gateway
from tests.fakes.http import Answer, head_of, send
from tests.faults.setup import AUTH, PROMPT, WHOLE_TEXT

T = TypeVar("T")


@dataclass(frozen=True)
class Api:
    """One way to ask. `middle` are bytes of an answer of the fake provider behind which it is torn."""

    name: str
    path: str
    field: str
    middle: bytes
    is_stream: bool = False

    def body(self, model: str, text: str = PROMPT) -> dict[str, Any]:
        """A request with one text."""
        said = [{"role": "user", "content": text}] if self.field == "messages" else text
        body: dict[str, Any] = {"model": model, self.field: said}
        return body | {"stream": True} if self.is_stream else body

    def ask(self, gateway: Gateway, model: str, **headers: str) -> tuple[Answer, float]:
        """One call with the common prompt, and how long it took."""
        began = time.monotonic()
        answer = send(gateway.base_url + self.path, self.body(model), headers=AUTH | headers)
        return answer, time.monotonic() - began

    def request_bytes(self, model: str) -> bytes:
        """The same as it goes over the wire; the connection is not kept."""
        body = json.dumps(self.body(model)).encode()
        fields = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        head = head_of("POST", f"/v1{self.path}", **AUTH, **fields)
        return head + body

    def check_answered(self, answer: Answer, by: str | None = None) -> None:
        """A complete answer, from the deployment `by`."""
        assert answer.status == 200, (self, answer.body)
        assert by is None or answer.headers["x-signalbox-model"] == by
        if self.is_stream:
            assert answer.frames[-1] == "data: [DONE]"
        if self.field == "messages":
            assert answer.text == WHOLE_TEXT
        elif self.is_stream:
            assert _streamed(answer) == f"You wrote: {PROMPT}"
        elif self.field == "prompt":
            assert answer.json["choices"][0]["text"] == f"You wrote: {PROMPT}"
        else:
            assert answer.json["data"][0]["embedding"] == vector(PROMPT, DIMENSIONS)


WHOLE = Api("completions", "/completions", "prompt", b"a ga")
STREAMED = Api("streamed completions", "/completions", "prompt", b"a ga", is_stream=True)
EMBEDDINGS = Api("embeddings", "/embeddings", "input", b"embedding")
APIS = (WHOLE, STREAMED, EMBEDDINGS)
CHAT = Api("chat", "/chat/completions", "messages", b"a beta")
STREAMED_CHAT = Api("streamed chat", "/chat/completions", "messages", b"a beta", is_stream=True)
CROWD = (CHAT, STREAMED_CHAT, *APIS)
_BEFORE_THE_MIDDLE = "You wrote: alpha bet"


def everywhere(work: Callable[[Api], T], apis: tuple[Api, ...] = APIS) -> list[T]:
    """The same for each of them, at the same time: most of it is waiting."""
    with ThreadPoolExecutor(len(apis)) as pool:
        return list(pool.map(work, apis))


def of_crowd(number: int) -> Api:
    """Which of all APIs the member of this number asks."""
    return CROWD[number % len(CROWD)]


def check_interrupted(answer: Answer) -> None:
    """Part of a streamed completion, an error event, and a body that ends in good order."""
    assert answer.status == 200, answer.body
    assert _streamed(answer) == _BEFORE_THE_MIDDLE
    error = answer.events[-1]["error"]
    assert (error["type"], error["code"]) == ("upstream_error", "stream_interrupted")
    assert "data: [DONE]" not in answer.frames


def _streamed(answer: Answer) -> str:
    return "".join(choice["text"] for event in answer.events for choice in event.get("choices", []))
