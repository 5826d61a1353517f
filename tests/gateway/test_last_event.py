"""How a stream ends when two reasons to end it meet."""

import pytest

from gateway.pipeline import SHUTDOWN
from tests.gateway.listening import STREAMED, dechunk, post, turns, until
from tests.gateway.scripted import Answer
from tests.gateway.test_connection import serve
from tests.gateway.test_connection_limits import endless


@pytest.mark.parametrize("is_interrupted", [True, False], ids=["interrupted before", "under way"])
def test_who_does_not_read_at_the_end_of_the_drain_gets_one_error_event(monkeypatch, is_interrupted):
    """Its stream was interrupted already, and waits for it to take that word, when the time to finish is over."""
    monkeypatch.setattr("gateway.pipeline._LAST_WORDS_S", 60.0)

    async def work(gateway):
        transport = gateway.stage.transports["a"]
        client = await gateway.connect(receive_buffer=4096)
        client.writer.write(post(STREAMED, b"x-signalbox-timeout-ms: %d" % (200 if is_interrupted else 60_000)))
        (connection,) = await found(gateway.state.connections)
        await until(lambda: connection.flow.write_paused)
        if is_interrupted:
            await until(lambda: transport.running == 0)
            await turns(0.02)
        assert len(gateway.state.tasks) == 1
        for task in list(gateway.state.tasks):
            task.cancel(SHUTDOWN)
        events = dechunk(await client.read_all(silence_s=1.0)).split(b"\n\n")
        assert sum(b'"error":' in event for event in events) == 1
        assert b'"error":' in events[-2]
        assert events[-1] == b""

    serve(work, Answer(endless()))


async def found(connections):
    await until(lambda: len(connections) == 1)
    return connections
