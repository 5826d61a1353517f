"""Events come out the same, however the network cuts the stream."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from providers.sse import Event, Framer, events

PIECES = st.sampled_from(
    [
        "data: {}",
        "data:x",
        "data",
        "event: ping",
        ": note",
        "id: 1",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\r\n\r\n",
        "\u2028",
        "é",
        "𝕏",
    ]
)


def decode(chunks: list[bytes], limit: int = 1 << 20) -> tuple[list[Event], bool]:
    framer = Framer(limit)
    found: list[Event] = []
    for chunk in chunks:
        found += events(framer.feed(chunk))
        assert framer.pending_bytes <= limit + 2
    return found, framer.is_too_large


def cut(data: bytes, borders: list[int]) -> list[bytes]:
    places = [0, *sorted(b % (len(data) + 1) for b in borders), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(st.lists(PIECES, max_size=40), st.lists(st.integers(0, 10_000), max_size=12), st.booleans())
def test_events_do_not_depend_on_where_the_stream_is_cut(pieces: list[str], borders: list[int], bom: bool) -> None:
    data = (b"\xef\xbb\xbf" if bom else b"") + "".join(pieces).encode()
    assert decode(cut(data, borders)) == decode([data])
    assert decode([data[i : i + 1] for i in range(len(data))]) == decode([data])


@given(st.lists(PIECES, max_size=40), st.lists(st.integers(0, 10_000), max_size=12))
def test_the_size_limit_does_not_depend_on_it_either(pieces: list[str], borders: list[int]) -> None:
    data = "".join(pieces).encode() + b"\n\n"
    whole, is_too_large = decode([data], limit=24)
    assert decode(cut(data, borders), limit=24) == (whole, is_too_large)


def test_fields_comments_and_multi_line_data() -> None:
    stream = b": hello\n\nevent: a\ndata: 1\ndata:2\n\ndata\n\nretry: 5\n\nid: 7\r\ndata: x:y\r\n\r\ndata: z\r\r"
    assert decode([stream])[0] == [Event(b"a", b"1\n2"), Event(b"", b"x:y"), Event(b"", b"z")]


def test_only_cr_and_lf_end_a_line() -> None:
    text = 'data: {"a":"\u2028\u2029\u0085\x0b\x0c"}'.encode()
    assert decode([text + b"\n\n"])[0] == [Event(b"", text[6:])]


def test_whole_chunks_pass_as_the_same_object() -> None:
    framer = Framer()
    framer.feed(b"data: 0\n\n")
    chunk = b"data: 1\n\ndata: 2\n\n"
    assert framer.feed(chunk) is chunk


def test_an_endless_event_is_given_up_at_the_limit() -> None:
    framer = Framer(limit=100)
    assert framer.feed(b"data: 1\n\n") == b"data: 1\n\n"
    for _ in range(200):
        framer.feed(b"x")
    assert framer.is_too_large
    assert framer.pending_bytes == 0
    assert framer.feed(b"\n\ndata: 2\n\n") == b""


def test_a_large_event_in_one_read_is_given_up_and_those_before_it_kept() -> None:
    framer = Framer(limit=100)
    assert framer.feed(b"data: 1\n\ndata: " + b"x" * 200 + b"\n\ndata: 2\n\n") == b"data: 1\n\n"
    assert framer.is_too_large
