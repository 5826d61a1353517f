"""Lessons in Redis, for gateways on several machines: a stream for each namespace."""

from collections.abc import Sequence

import orjson

from gateway.caching.semantic.board import Heard, Told
from gateway.caching.shared import RedisAnswers
from gateway.caching.shared_scripts import DISCARD, EXCHANGE, PUT_HITS, TAKE_HIT
from policies.stores.redis_link import LinkError, Script

MOST_LESSONS = 1_500
_KEPT_MS = 30 * 86_400_000
_HITS_MS = 3_600_000
_WAIT_S = 1.0


class RedisLessons:
    """A LessonStore beside the answers of a namespace. It writes nothing where Redis has little room left."""

    def __init__(self, answers: RedisAnswers) -> None:
        self._answers = answers

    async def exchange(self, told: Sequence[Told]) -> Sequence[Heard]:
        has_room = self._answers.has_room
        rows = [[one.name, one.cursor, [len(data) for data in one.records] if has_room else []] for one in told]
        data = b"".join(data for one in told for data in one.records) if has_room else b""
        head = {"most": MOST_LESSONS, "kept_ms": _KEPT_MS, "rows": rows}
        values = await self._run(EXCHANGE, head, data, _WAIT_S)
        try:
            return [Heard([bytes(one) for one in records], cursor.decode("ascii")) for cursor, records in values]
        except (ValueError, TypeError, AttributeError) as error:
            raise LinkError("Redis has something else for lessons", may_have_run=True, is_refused=True) from error

    async def discard(self, name: str) -> None:
        await self._run(DISCARD, {"name": name}, b"", _WAIT_S)

    async def put_hits(self, hits: Sequence[tuple[str, bytes]]) -> None:
        if self._answers.has_room:
            head = {"kept_ms": _HITS_MS, "rows": [[name, len(data)] for name, data in hits]}
            await self._run(PUT_HITS, head, b"".join(data for _, data in hits), _WAIT_S)

    async def take_hit(self, name: str) -> bytes:
        (found,) = await self._run(TAKE_HIT, {"name": name}, b"", _WAIT_S)
        return bytes(found)

    async def _run(self, script: Script, head: object, data: bytes, timeout_s: float):  # type: ignore[no-untyped-def]
        told = orjson.dumps(head)
        body = b"%08x%b%b" % (len(told), told, data)
        return (await self._answers.link.run(script, self._answers.key, body, timeout_s)).value
