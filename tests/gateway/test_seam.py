"""Two streams become one: nothing twice, nothing lost, whatever way both are cut into pieces."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.seam import Continued, KeptText, Repeat
from providers.base import ErrorKind, ProviderError, Usage

SENT = "The gate opens at nine, and the first guests come in through the garden"


def joined(sent, *pieces):
    repeat = Repeat(sent)
    return sent + "".join(repeat.feed(piece) for piece in pieces) + repeat.flush()


@pytest.mark.parametrize(
    ("sent", "more", "whole"),
    [
        (SENT, " door.", SENT + " door."),
        (SENT, "er's door.", SENT + "er's door."),
        (SENT, "through the garden door.", SENT + " door."),
        (SENT, " in through the garden", SENT),
        (SENT, SENT + " door.", SENT + " door."),
        (SENT, "the garden door.", SENT + "the garden door."),  # too short to be sure
        (SENT, "en door, and the first guests", SENT + "en door, and the first guests"),
        ("Sure", "Sure, here", "Sure, here"),
        ("No", "No", "NoNo"),
        (SENT + " \n", " \ndoor.", SENT + " \ndoor."),
        (SENT + " ", " door.", SENT + " door."),
        (SENT + " ", "door.", SENT + " door."),
        (SENT + "\n\n", "\ndoor.", SENT + "\n\ndoor."),
        (SENT + " ", "\n\ndoor.", SENT + " \n\ndoor."),
        (SENT + "\n", "through the garden\ndoor.", SENT + "\ndoor."),
        (SENT, "", SENT),
        (SENT + " ", " ", SENT + " "),
    ],
)
def test_the_end_of_the_text_is_not_said_twice(sent, more, whole):
    assert joined(sent, more) == whole
    assert joined(sent, *more) == whole, "one character at a time"


@pytest.mark.parametrize(
    ("sent", "more"),
    [
        ("| --- | --- |\n| --- | --- |\n", "| --- | --- |\n"),
        ("Row, row, row your boat,\nrow, row, row your boat,", "\nrow, row, row your boat,"),
        ("very " * 9 + "very", " very very very very good"),
        ("0.0, 0.0, 0.0, 0.0, 0.0", ", 0.0, 0.0, 0.0"),
        ("def a():\n    return None\n\n\ndef b():\n    return None", "\n\n\ndef c():\n    return None"),
    ],
)
def test_what_repeats_itself_already_may_do_so_again(sent, more):
    first = joined(sent, more)
    assert first.rstrip().endswith(more.strip())
    assert first.replace("\n", "") == (sent + more).replace("\n", "")


WORDS = st.lists(st.sampled_from(["ab", "cd ", " ", "\n", "very ", "é", "世界", "🙂", "."]), max_size=30).map("".join)


@given(WORDS.filter(str.strip), WORDS, st.lists(st.integers(1, 6), max_size=20))
def test_pieces_make_no_difference_and_the_text_sent_stays(sent, more, sizes):
    pieces, at = [], 0
    for size in sizes:
        pieces.append(more[at : at + size])
        at += size
    pieces.append(more[at:])
    whole = joined(sent, more)
    assert joined(sent, *pieces) == whole
    assert whole.startswith(sent)
    assert more.strip().endswith(whole[len(sent) :].strip()), "nothing is made up"
    assert len(more) - len(whole[len(sent) :]) <= len(sent) + len(more) - len(more.lstrip()), "no more than was sent"


class Collected:
    def __init__(self):
        self.data = b""
        self.is_ended = False

    def start(self, outcome):
        raise AssertionError("the head was sent")

    def write(self, data):
        self.data += data

    def end(self):
        self.is_ended = True

    @property
    def chunks(self):
        return [json.loads(line[6:]) for line in self.data.decode().split("\n\n") if line and line != "data: [DONE]"]


def chunk(delta=None, finish=None, **more):
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}] if delta is not None else []
    body = {"id": "second", "created": 2, "model": "other", "choices": choices, **more}
    return f"data: {json.dumps(body)}\n\n".encode()


SHARED = {"id": "first", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def continued(*data, include_usage=False):
    sink = Collected()
    seam = Continued(sink, SENT, SHARED, Usage(input=10, output=5, reasoning=1), include_usage=include_usage)
    seam.start(None)
    for one in data:
        seam.write(one)
    return sink


def test_the_second_stream_has_the_identity_of_the_first_and_no_second_role():
    sink = continued(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "through the"}) + chunk({"content": " garden door."}),
        chunk({"reasoning_content": "hm"}),
        chunk({}, "stop"),
        b"data: [DONE]\n\n",
    )
    assert [{name: c[name] for name in SHARED} for c in sink.chunks] == [SHARED] * len(sink.chunks)
    assert [c["choices"][0]["delta"] for c in sink.chunks] == [{"content": " door."}, {}]
    assert [c["choices"][0]["finish_reason"] for c in sink.chunks] == [None, "stop"]
    assert sink.data.endswith(b"data: [DONE]\n\n")
    assert sink.data.count(b"[DONE]") == 1


def test_what_is_held_back_comes_before_the_end():
    for end in (chunk({}, "length"), b"data: [DONE]\n\n", chunk({"tool_calls": [{"index": 0}]})):
        sink = continued(chunk({"content": "through the gar"}), end)
        assert sink.chunks[0]["choices"][0]["delta"] == {"content": "through the gar"}


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_who_thinks_first_does_not_go_on(name):
    with pytest.raises(ProviderError) as caught:
        continued(chunk({"role": "assistant", "content": ""}), chunk({name: "The user wants", "content": None}))
    assert caught.value.kind is ErrorKind.LOCAL


def test_usage_is_that_of_both():
    reported = {"prompt_tokens": 30, "completion_tokens": 4, "total_tokens": 34}
    sink = continued(
        chunk({"content": " door."}), chunk({}, "stop"), chunk(usage=reported), b"data: [DONE]\n\n", include_usage=True
    )
    assert [c["usage"] and c["usage"]["total_tokens"] for c in sink.chunks] == [None, None, 50]
    assert (sink.chunks[-1]["usage"]["prompt_tokens"], sink.chunks[-1]["choices"]) == (40, [])


class Passed(Collected):
    def start(self, outcome):
        """A first stream begins."""


def kept(*data):
    sink = Passed()
    text = KeptText(sink)
    text.start(None)
    for one in data:
        text.write(one)
    assert sink.data == b"".join(data), "what passes is not changed"
    return text


def test_the_text_so_far():
    text = kept(chunk({"role": "assistant", "content": ""}), chunk({"content": "a\u2028b \ud83d"}, service_tier="x"))
    assert text.text() == "", "half a character"
    text.write(chunk({"content": "\ude42", "refusal": None}))
    assert text.text() == "a\u2028b 🙂"
    assert not text.is_finished
    assert text.shared == {"id": "second", "created": 2, "model": "other"}


@pytest.mark.parametrize(
    "data",
    [
        chunk({"content": "a", "tool_calls": [{"index": 0, "id": "x"}]}),
        chunk({"refusal": "no"}),
        chunk({"content": [{"type": "text"}]}),
        b"data: {}\n\n",
        b'data: {"choices":[{"index":1,"delta":{"content":"a"},"finish_reason":null}]}\n\n',
        b"".join(chunk({"content": "x" * 1000}) for _ in range(1100)),
    ],
    ids=["tool", "refusal", "parts", "odd", "second choice", "long"],
)
def test_what_is_no_text_is_not_kept(data):
    text = kept(chunk({"content": "a"}), data)
    assert text.text() == ""


def test_a_finished_answer_is_known():
    assert not kept(chunk({"content": "a"})).is_finished
    for end in (chunk({}, "stop"), b"data: [DONE]\n\n"):
        text = kept(chunk({"content": "a"}), end)
        text.text()
        assert text.is_finished
