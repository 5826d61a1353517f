"""Vectors of questions: made by a model in a folder or by one of the providers, in time or not at all."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from functools import partial
from math import isfinite
from typing import Protocol

import orjson

from gateway.asking import NO_HEADERS
from gateway.caching.own_calls import OwnCalls
from gateway.caching.semantic.local_model import LocalModel
from gateway.runtime import Caller
from policies.cache.semantic.settings import EmbeddingSettings
from policies.ledger import Purpose
from providers import lenient_json
from providers.base import Request

Vector = Sequence[float]
# Of a text for a caller, in a request. It may raise anything.
Make = Callable[[str, Caller, str], Awaitable[Vector | None]]
_KEPT = 256


class EmbeddingEnd(StrEnum):
    """What became of a text that was to be a vector; a closed set."""

    OK = "ok"
    TIMEOUT = "timeout"
    FAILED = "failed"


class Embedder(Protocol):
    """Vectors of two embedders never meet: `id` tells them apart."""

    @property
    def id(self) -> bytes: ...

    async def vector(self, text: str, caller: Caller, request_id: str) -> Vector | None:
        """None where there is none in time. Raises nothing but CancelledError."""


class OneAtATime:
    """An Embedder that makes a vector once for all who want it now or wanted it lately."""

    def __init__(
        self,
        id: bytes,
        timeout_s: float,
        make: Make,
        note: Callable[[EmbeddingEnd], None],
    ) -> None:
        self.id = id
        self._timeout_s = timeout_s
        self._make = make
        self._note = note
        self._length = 0
        self._kept: OrderedDict[str, Vector] = OrderedDict()
        self._running: dict[str, asyncio.Task[Vector | None]] = {}

    async def vector(self, text: str, caller: Caller, request_id: str) -> Vector | None:
        kept = self._kept.get(text)
        if kept is not None:
            self._kept.move_to_end(text)
            return kept
        task = self._running.get(text)
        if task is None:
            task = self._running[text] = asyncio.get_running_loop().create_task(self._made(text, caller, request_id))
            task.add_done_callback(partial(self._forget, text))
        return await asyncio.shield(task)

    async def _made(self, text: str, caller: Caller, request_id: str) -> Vector | None:
        end = EmbeddingEnd.FAILED
        try:
            async with asyncio.timeout(self._timeout_s):
                vector = await self._make(text, caller, request_id)
            if vector is None or not self._is_sound(vector):
                return None
            self._kept[text] = vector
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            end = EmbeddingEnd.OK
            return vector
        except TimeoutError:
            end = EmbeddingEnd.TIMEOUT
            return None
        except Exception:
            return None
        finally:
            self._note(end)

    def _is_sound(self, vector: Vector) -> bool:
        """Whether it can be compared with those before."""
        self._length = self._length or len(vector)
        return 0 < len(vector) == self._length and all(map(isfinite, vector)) and any(vector)

    def _forget(self, text: str, _: object) -> None:
        del self._running[text]


def asked_of_provider(settings: EmbeddingSettings, calls: OwnCalls) -> Make:
    """Makes vectors by calls through the gateway's own providers: for the gateway's own use, so that no budget of the
    caller pays; the ledger names it all the same.
    """
    name = f"{settings.provider}/{settings.model}"

    async def make(text: str, caller: Caller, request_id: str) -> Vector | None:
        body = {"model": name, "input": text, "encoding_format": "float"}
        request = Request("embeddings", body, orjson.dumps(body), name, False, False, request_id)
        outcome = await calls.ask(request, Caller(caller.name, team=caller.team), NO_HEADERS, Purpose.EMBEDDING)
        if outcome is None or outcome.ending != "ok" or outcome.reply is None:
            return None
        vector = lenient_json.loads(outcome.reply.body)["data"][0]["embedding"]
        return [float(value) for value in vector] if type(vector) is list else None

    return make


def made_here(model: LocalModel) -> Make:
    """Makes vectors by a model in a folder."""
    return lambda text, _caller, _request_id: model.vector(text)
