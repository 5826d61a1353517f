"""What is asked of every subject."""

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Scenario:
    """`connections` are kept busy for the length of a round. `chunks` > 0 streams, with `pause_ms` between them."""

    name: str
    note: str
    connections: int
    chunks: int = 0
    pause_ms: int = 0
    asks_usage: bool = False
    min_bytes: int = 0
    transports: tuple[str, ...] = ("http", "tls")
    has_variants: bool = True  # also measured on the gateway's other paths


SCENARIOS = (
    Scenario("plain", "one short chat completion", 16),
    Scenario("stream", "100 chunks, 2 ms apart; the client does not ask for usage", 20, chunks=100, pause_ms=2),
    Scenario("stream-usage", "the same with stream_options.include_usage", 20, chunks=100, pause_ms=2, asks_usage=True),
    Scenario("body-100k", "a conversation of 100 KB, answered whole", 16, min_bytes=100_000),
    Scenario("single", "plain, one request at a time", 1, transports=("http",), has_variants=False),
)

# Paced so that a thousand of them are less than one core's work: what counts is memory and that none breaks.
CROWD = Scenario(
    "streams-1000",
    "1,000 streams at once, 100 chunks 150 ms apart",
    1000,
    chunks=100,
    pause_ms=150,
    transports=("http",),
    has_variants=False,
)
