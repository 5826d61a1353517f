"""Many clients at once, each of its own kind: some want all of an answer, some leave, some ask for what breaks."""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

from tests.fakes.http import head_of
from tests.money.provider import LAST_PIECE, Provider

Kind = Literal["plain", "streamed", "failing", "hedged", "again", "cut-here", "cut-there", "silent"]
KINDS: tuple[Kind, ...] = ("plain", "streamed", "failing", "hedged", "again", "cut-here", "cut-there", "silent")
_MODELS = {"plain": "plain", "streamed": "plain", "failing": "falling", "hedged": "hedged"}
_STREAMED = ("streamed", "hedged", "cut-here", "cut-there")
_WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "asks",
    "how",
    "much",
    "all",
    "of",
    "this",
    "may",
    "cost",
    "in",
    "the",
    "end",
    "and",
    "who",
    "is",
    "going",
    "to",
    "pay",
    "for",
    "it",
]
_NUMBERS = ["20260314", "0x7f3a9c", "1782000000", "9f2c61d0aa3e", "31415926", "192.168.10.77"]
_CHINESE = ["这一切", "最终", "要花费", "多少钱", "谁来支付", "预算", "已经", "用完"]
_PAUSE_S = 0.05
_PATIENCE_S = 30.0
_REFUSALS = 8
MAX_TOKENS = 100
_numbers = count(1)


@dataclass(slots=True)
class Result:
    """What one client saw: the status of its last try (0: it left before), the body, and the words of all its tries."""

    kind: Kind
    status: int = 0
    body: bytes = b""
    words: list[str] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def code(self) -> str | None:
        """That of an error object, None where it was answered."""
        if self.status in (0, 200):
            return None
        return str(json.loads(self.body)["error"]["code"])


class Client:
    """Asks one gateway with one key, about something else every time."""

    def __init__(self, port: int, secret: str, provider: Provider, seed: int = 1) -> None:
        self._port = port
        self._secret = secret
        self._provider = provider
        self._random = random.Random(seed)

    async def ask(
        self, kind: Kind, *, text: str | None = None, max_tokens: int = MAX_TOKENS, refusals: int = 0
    ) -> Result:
        """One request. Where the gateway says that it makes sense it is repeated, for a while; where the budget does
        not pay for it, `refusals` times, because others may give back what they hold.
        """
        result = Result(kind)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            word = f"w{next(_numbers)}"
            result.words.append(word)
            body = self._body(kind, word, text, max_tokens)
            asked_at = loop.time()
            async with asyncio.timeout(_PATIENCE_S):
                result.status, result.body = await self._exchange(kind, word, body)
            result.took_s = loop.time() - asked_at
            if result.code == "insufficient_quota" and refusals > 0:
                refusals -= 1
            elif result.code != "budget_store_unavailable" or loop.time() > began + _PATIENCE_S:
                return result
            await asyncio.sleep(_PAUSE_S)

    async def ask_all(self, kinds: Sequence[Kind]) -> list[Result]:
        """As many requests at once."""
        return await asyncio.gather(*(self.ask(kind, refusals=_REFUSALS) for kind in kinds))

    def _body(self, kind: Kind, word: str, text: str | None, max_tokens: int) -> dict[str, Any]:
        if text is None:
            text = self._text()
            if kind == "hedged":
                text = f"slow {text}"
        body: dict[str, Any] = {
            "model": _MODELS.get(kind, kind),
            "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": f"{word} {text}"}],
        }
        return body | ({"stream": True} if kind in _STREAMED else {})

    def _text(self) -> str:
        """Prose, digits, or a language of many bytes: what a rough count of tokens is wrong about."""
        words = self._random.choices(self._random.choice((_WORDS, _NUMBERS, _CHINESE)), k=self._random.randint(10, 60))
        return " ".join(words)

    async def _exchange(self, kind: Kind, word: str, body: dict[str, Any]) -> tuple[int, bytes]:
        arrived = asyncio.Event()
        if kind == "silent":
            loop = asyncio.get_running_loop()
            self._provider.on_arrival(word, lambda: loop.call_soon_threadsafe(arrived.set))
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        reading = asyncio.ensure_future(_read(reader, LAST_PIECE.encode() if kind == "cut-here" else None))
        waiting = asyncio.ensure_future(arrived.wait())
        try:
            writer.write(self._head(word, data := json.dumps(body).encode()) + data)
            await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
            return await reading if reading.done() else (0, b"")
        finally:
            reading.cancel()
            waiting.cancel()
            writer.close()

    def _head(self, word: str, data: bytes) -> bytes:
        return head_of(
            "POST",
            "/v1/chat/completions",
            authorization=f"Bearer {self._secret}",
            content_type="application/json",
            content_length=str(len(data)),
            x_request_id=word,
            connection="close",
        )


async def _read(reader: asyncio.StreamReader, until: bytes | None) -> tuple[int, bytes]:
    """Status and body, up to the end of the connection or behind `until`."""
    received = b""
    while data := await reader.read(65536):
        received += data
        if until is not None and until in received:
            break
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]) if head else 0, body
