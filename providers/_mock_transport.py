"""The mock provider's side of the transport: an upstream without a network, with the same seam as the HTTP one."""

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Self

import orjson

from providers._mock_script import Pace, Script, Turn, failure, script
from providers.base import Call, Cause, ErrorKind, ProviderError, error_object

Sleep = Callable[[float], Awaitable[None]]


class MockTransport:
    """Answers calls from their content. `fault` names a misbehaviour that replaces every model's own behaviour.

    Without a `sleep` it is asyncio's, imported when the first call is answered: checking a file goes without asyncio.
    """

    def __init__(
        self, pace: Pace, *, sleep: Sleep | None, clock: Callable[[], float], fault: str | None = None
    ) -> None:
        self.pace = pace
        self.sleep = sleep
        self.clock = clock
        self.fault = fault

    def open(self, call: Call, *, fresh: bool = False) -> "MockExchange":
        """The answer to `call`; enter to wait for its head. Nothing runs before that, or after leaving."""
        return MockExchange(self, call, is_fresh=fresh)

    async def close(self) -> None:
        """Nothing is held open."""

    def play(self, call: Call, *, is_fresh: bool) -> Script:
        """Decide what to send. Raises ProviderError where no answer is to come at all."""
        try:
            body = orjson.loads(call.body)
        except orjson.JSONDecodeError:
            return _refused("We could not parse the JSON body of your request.")
        if not isinstance(body, dict):
            return _refused("The body of the request must be a JSON object.")
        operation = _operation(call.url)
        if operation is None:
            return failure(404, error_object(f"Unknown request URL: POST {call.url}.", "invalid_request_error"))
        if operation == "chat" and not _has_messages(body):
            return _refused("'messages' must be a list of objects, and not empty.", "messages")
        turn = Turn(operation, body, self.pace, int(self.clock()), is_fresh)
        try:
            return script(self.fault or str(body.get("model", "")).rsplit("/", 1)[-1], turn)
        except ValueError as error:
            return _refused(str(error))
        except (TypeError, AttributeError, KeyError, RecursionError):
            # Parameters of types nobody sends: a provider answers 400, so the mock does not check each of them itself.
            return _refused("A parameter of the request has the wrong type.")


class MockExchange:
    """One call, as context manager and exchange in one object."""

    __slots__ = ("_call", "_is_fresh", "_pieces", "_transport", "headers", "status")

    def __init__(self, transport: MockTransport, call: Call, *, is_fresh: bool) -> None:
        self._transport = transport
        self._call = call
        self._is_fresh = is_fresh
        self._pieces: Iterator[tuple[float, bytes]] = iter(())
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        played = self._transport.play(self._call, is_fresh=self._is_fresh)
        if played.delay_s > 0:
            await self._pause(played.delay_s)
        self.status = played.status
        self.headers = played.headers
        self._pieces = played.pieces
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pieces = iter(())

    async def read(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        for pause_s, piece in self._pieces:
            if pause_s > 0:
                await self._pause(pause_s)
            size += len(piece)
            if size > limit:
                message = f"The provider's answer is larger than {limit} bytes."
                raise ProviderError(ErrorKind.BROKEN, message, cause=Cause.TOO_LARGE)
            pieces.append(piece)
        return b"".join(pieces)

    async def chunk(self) -> bytes | None:
        for pause_s, piece in self._pieces:
            await self._pause(pause_s)  # also when it is 0: a stream that never yields would starve the other tasks
            return piece
        return None

    async def _pause(self, seconds: float) -> None:
        if seconds == math.inf:
            # Silence is not a matter of time: it must hold under a clock that jumps as well.
            from asyncio import get_running_loop  # noqa: PLC0415 - see MockTransport

            await get_running_loop().create_future()
        if self._transport.sleep is None:
            from asyncio import sleep  # noqa: PLC0415 - see MockTransport

            self._transport.sleep = sleep
        await self._transport.sleep(seconds)


_OPERATIONS = {"/chat/completions": "chat", "/completions": "completions", "/embeddings": "embeddings"}


def _operation(url: str) -> str | None:
    path = url.split("?", 1)[0]
    for ending, operation in _OPERATIONS.items():
        if path.endswith(ending):
            return operation
    return None


def _has_messages(body: dict[str, Any]) -> bool:
    messages = body.get("messages")
    return isinstance(messages, list) and bool(messages) and all(isinstance(message, dict) for message in messages)


def _refused(message: str, param: str | None = None) -> Script:
    return failure(400, error_object(message, "invalid_request_error", param))
