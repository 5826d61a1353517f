"""What feedback keeps and for how long, what it takes for a hint, and how its file grows."""

import json
import resource
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.feedback.book import FeedbackBook, UnknownAnswerError, UnknownRequestError
from gateway.feedback.formats import fits, keeps_format
from gateway.feedback.journal import Journal
from gateway.feedback.sketch import sketch_of
from policies.outcome import Attempt, Outcome
from providers.base import Reply, Request
from routing.decision import Decision
from routing.features import extract
from tests.gateway.scripted import deployment

OBJECT = {"type": "json_object"}
_NUMBERS = count()


class Desk:
    """A book with a clock that is set, and the rows it wrote."""

    def __init__(self, **more: Any) -> None:
        self.now = 1_000.0
        self.rows: list[dict[str, Any]] = []
        self.book = FeedbackBook(self._write, lambda: self.now, **more)

    def _write(self, line: bytes) -> "Future[None]":
        self.rows.append(json.loads(line))
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def answer(
        self, text: str = "Hello", *, caller: str = "ann", model: str = "small", request_id: str | None = None,
        content: str = "Hi", finish: str = "stop", ending: Any = "ok", messages: Any = None, **body: Any,
    ) -> str:  # fmt: skip
        """One answered request; returns its id."""
        request_id = request_id or f"req_{next(_NUMBERS)}"
        body = {"model": "auto", "messages": messages or [{"role": "user", "content": text}], **body}
        request = Request("chat", body, b"", "auto", stream=False, include_usage=False, request_id=request_id)
        attempt = Attempt(deployment("sim", model), 1.0, 1.5, cost_nusd=2_000_000)
        outcome = Outcome(request, caller, 1.0, Decision("auto", "ordered", ()), [attempt], attempt, ending=ending)
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
        outcome.reply = Reply(json.dumps({"choices": [choice]}).encode(), None, finish)
        self.book.note(outcome, "app")
        return request_id


def test_a_row_has_what_training_needs() -> None:
    desk = Desk()
    request_id = desk.answer("How are you?")
    assert desk.book.score("ann", request_id, 0.5)[0] == "small"
    assert desk.rows == [
        {
            "request_id": request_id,
            "prompt": "How are you?",
            "scores": {"small": 0.5},
            "costs": {"small": 0.002},
            "latency_s": {"small": 0.5},
            "application": "app",
        }
    ]


def test_what_is_kept_of_a_request_takes_little_more_than_its_length() -> None:
    """What makes the JSON writes into a buffer of many times its length, and hardly gives back the rest."""
    desk, before = Desk(), _resident_bytes()
    for number in range(4_000):
        desk.answer(f"{number} {'word ' * 120}")
    assert _resident_bytes() - before < 20 * 2**20, "2.5 MB of prompts, and as much again for the rest"


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_two_models_that_answered_the_same_request_share_a_row() -> None:
    desk = Desk()
    request_id = desk.answer("Hi")
    desk.answer("Hi", model="large", request_id=request_id)
    desk.book.score("ann", request_id, 0.5)
    desk.book.score("ann", request_id, 1.0, "sim/large")
    assert desk.rows[-1]["scores"] == {"small": 0.5, "large": 1.0}
    with pytest.raises(UnknownAnswerError):
        desk.book.score("ann", request_id, 1.0, "medium")


def test_the_same_id_of_another_caller_is_another_request() -> None:
    desk = Desk()
    desk.answer("Mine", request_id="x")
    desk.answer("Yours", request_id="x", caller="bob")
    desk.book.score("bob", "x", 1.0)
    assert desk.rows[0]["prompt"] == "Yours"
    with pytest.raises(UnknownRequestError):
        desk.book.score("eve", "x", 1.0)


def test_what_did_not_end_well_cannot_be_scored() -> None:
    desk = Desk()
    for ending in ("interrupted", "upstream_error", "client_gone"):
        desk.answer(request_id="x", ending=ending)
        with pytest.raises(UnknownRequestError):
            desk.book.score("ann", "x", 1.0)


def test_it_forgets_by_time_by_number_and_by_bytes() -> None:
    desk = Desk(ttl_s=60, max_pending=3, has_weak_labels=False)
    first = desk.answer("1")
    desk.now += 61
    with pytest.raises(UnknownRequestError):
        desk.book.score("ann", first, 1.0)
    ids = [desk.answer(str(number)) for number in range(5)]
    assert len(desk.book) == 3
    assert desk.book.score("ann", ids[2], 1.0)
    with pytest.raises(UnknownRequestError):
        desk.book.score("ann", ids[1], 1.0)
    large = Desk(max_pending=1_000_000)
    for number in range(3_000):
        large.answer(f"{number} " + "x" * 200_000)
    assert large.book._bytes <= 32 * 1024 * 1024
    assert len(large.book) < 3_000
    assert len(large.book._repeats) == len(large.book)


def test_who_asks_again_was_not_content() -> None:
    desk = Desk()
    first = desk.answer("Explain tides")
    desk.answer("Explain winds")
    desk.answer("Explain tides", caller="bob")
    assert desk.rows == []
    second = desk.answer("Explain tides")
    assert [(row["request_id"], row["scores"], row["weak"]) for row in desk.rows] == [
        (first, {"small": 0.3}, ["small"])
    ]
    desk.now += 301
    desk.answer("Explain tides")
    assert second not in [row["request_id"] for row in desk.rows]


def test_a_program_that_asks_the_same_all_the_time_says_nothing() -> None:
    desk = Desk()
    for _ in range(50):
        desk.answer("ping")
    assert len(desk.rows) == 2


def test_the_steps_of_a_tool_loop_are_no_repetition() -> None:
    desk = Desk()
    for steps in (1, 2, 2, 2):
        loop = [{"role": "assistant", "tool_calls": [{}]}, {"role": "tool", "content": "42"}] * steps
        desk.answer(messages=[{"role": "user", "content": "Count"}, *loop])
    desk.answer(messages=[{"role": "user", "content": "a"}])
    desk.answer(messages=[{"role": "user", "content": "b"}, {"role": "user", "content": "a"}])
    assert desk.rows == []


def test_a_score_stands_against_every_hint() -> None:
    desk = Desk()
    request_id = desk.answer("Explain tides")
    desk.book.score("ann", request_id, 1.0)
    desk.answer("Explain tides")
    assert desk.rows[-1]["scores"] == {"small": 1.0}
    assert len(desk.rows) == 1


def test_of_two_hints_the_worse_counts() -> None:
    desk = Desk()
    first = desk.answer("As JSON", content="{}", response_format=OBJECT)
    assert desk.rows[-1]["scores"] == {"small": 1.0}
    desk.answer("As JSON", content="no", response_format=OBJECT)
    found = {row["request_id"]: row["scores"]["small"] for row in desk.rows}
    assert found.pop(first) == 0.3
    assert list(found.values()) == [0.0]


def test_hints_can_be_switched_off() -> None:
    desk = Desk(has_weak_labels=False)
    for _ in range(2):
        desk.answer("As JSON", content="no", response_format=OBJECT)
    assert desk.rows == []


# Formats.


@pytest.mark.parametrize(
    ("content", "finish", "kept"),
    [('{"a": 1}', "stop", True), ("[1]", "stop", False), ("Sure: {}", "stop", False), ('{"a"', "length", None),
     ("", "stop", None), (None, "stop", None), ("no", "tool_calls", None)],
)  # fmt: skip
def test_json_mode(content: str | None, finish: str, kept: bool | None) -> None:
    reply = json.dumps({"choices": [{"message": {"content": content}, "finish_reason": finish}]}).encode()
    assert keeps_format({"response_format": OBJECT}, reply) is kept
    assert keeps_format({}, reply) is None
    assert keeps_format({"response_format": {"type": "text"}}, reply) is None


@pytest.mark.parametrize("reply", [b"", b"{}", b"[]", b'{"choices": []}', b'{"choices": [1]}', b'{"choices": [{}]}'])
def test_a_reply_may_be_anything(reply: bytes) -> None:
    assert keeps_format({"response_format": OBJECT}, reply) is None


@pytest.mark.parametrize(
    "asked", [None, 5, "json_schema", {"type": "json_schema"}, {"type": "json_schema", "json_schema": 5}]
)
def test_a_response_format_may_be_anything(asked: Any) -> None:
    reply = json.dumps({"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}]}).encode()
    assert keeps_format({"response_format": asked}, reply) in (None, True)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ({}, {"required": ["a"]}),
        ({"a": "x"}, {"properties": {"a": {"type": "integer"}}}),
        ({"b": 1}, {"properties": {"a": {}}, "additionalProperties": False}),
        ([1, "x"], {"items": {"type": "number"}}),
        (True, {"type": "integer"}),
        (1.5, {"type": ["integer", "null"]}),
        ("red", {"enum": ["blue", 1]}),
        (True, {"const": 1}),
        (1, False),
    ],
)
def test_what_does_not_fit(value: Any, schema: Any) -> None:
    assert not fits(value, schema)
    assert not jsonschema.Draft202012Validator(schema).is_valid(value)


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
_types = st.sampled_from(["object", "array", "string", "boolean", "null", "number", "integer"])


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keywords = {
        "type": _types | st.lists(_types, min_size=1, max_size=2, unique=True),
        "enum": st.lists(_values, min_size=1, max_size=3),
        "const": _values,
        "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
        "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        "patternProperties": st.just({"^a": {}}),
        "additionalProperties": st.booleans(),
        "items": inner,
        "prefixItems": st.lists(inner, min_size=1, max_size=2),
        "minLength": st.integers(0, 2),
        "anyOf": st.lists(inner, min_size=1, max_size=2),
    }
    return st.fixed_dictionaries({}, optional=keywords)


_FLAT: list[Any] = [None, True, False, *range(-3, 4), 0.5, 1.0, "", "a", "b"]
_DEEP: list[Any] = [[], [1], ["a", 1], [[], {}, None], {}, {"a": 1}, {"b": "a"}, {"a": {"b": 1}, "c": [True, 0.5]}]


@settings(max_examples=250, deadline=None)
@given(_values, st.recursive(st.booleans(), _schemas, max_leaves=4))
def test_a_valid_answer_is_never_called_wrong(value: Any, schema: Any) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    for answer in (value, *_FLAT, *_DEEP):  # most are valid by no schema that somebody draws, some by many
        assert fits(answer, schema) or not validator.is_valid(answer), answer


# Sketches.

_texts = st.text(alphabet='abc .?1\n"é漢<>', max_size=30) | st.sampled_from(
    ["Prove that 2 + 2 = 4.", "word " * 900, "<context>\n" + "noise " * 900 + "</context> Hello", "> quoted\nmine"]
)
# Without quotes: a part that is nothing else keeps them, and as a line of a longer text it would not.
_parts = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": _texts.filter(lambda text: ">" not in text)})
    | st.sampled_from(
        [{"type": "image_url", "image_url": {"url": "http://secret/"}}, {"type": "input_audio"}, {"type": "file"}]
    ),
    max_size=3,
)
_messages = st.lists(
    st.fixed_dictionaries({"role": st.just("user"), "content": _texts | _parts})
    | st.fixed_dictionaries({"role": st.sampled_from(["assistant", "system", "tool"]), "content": _texts})
    | st.just({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}),
    max_size=6,
)


@settings(deadline=None)
@given(_messages, st.booleans())
def test_a_sketch_has_the_features_of_the_request(messages: list[Any], has_tools: bool) -> None:
    body: dict[str, Any] = {"model": "m", "messages": messages}
    if has_tools:
        body["tools"] = [{"type": "function", "function": {"name": "secret"}}]
    sketch = json.loads(json.dumps(sketch_of(body)))
    found, expected = extract(sketch), extract(body)
    assert (found.values, found.words) == (expected.values, expected.words)
    assert (found.language, found.modality) == (expected.language, expected.modality)
    assert "secret" not in json.dumps(sketch)


def test_a_sketch_holds_no_other_words_than_the_classified_ones() -> None:
    body = {
        "messages": [
            {"role": "system", "content": "SECRET"},
            {"role": "user", "content": "SECRET"},
            {"role": "assistant", "content": "SECRET", "tool_calls": [{"function": {"arguments": "SECRET"}}]},
            {"role": "tool", "content": "SECRET"},
            {"role": "user", "content": "<context>SECRET</context> Thanks", "name": "SECRET"},
        ],
        "user": "SECRET",
        "metadata": {"a": "SECRET"},
    }
    assert "SECRET" not in json.dumps(sketch_of(body))
    assert sketch_of({"prompt": "Once upon"}) == {"prompt": "Once upon"}


@given(
    st.recursive(
        st.none() | st.text(max_size=3) | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["messages", "role", "content", "tools", "text", "prompt"]), inner)
        ),
        max_leaves=30,
    )
)
def test_any_body_has_a_sketch(body: Any) -> None:
    if isinstance(body, dict):
        json.dumps(sketch_of(body))
    json.dumps(sketch_of({"messages": body, "prompt": body}))


def test_a_huge_body_has_a_small_sketch() -> None:
    huge = {"messages": [{"role": "user", "content": "x " * 500_000}] * 5_000}
    assert len(json.dumps(sketch_of(huge))) < 100_000


# The file.


def test_the_file_grows_to_its_size_and_one_older_stays(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    journal = Journal(path, 100)
    for number in range(25):
        journal.append(b"%09d" % number).result(5)
    assert [int(line) for line in path.read_text().split()] == list(range(20, 25))
    assert [int(line) for line in (tmp_path / "f.jsonl.1").read_text().split()] == list(range(10, 20))


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    journals = [Journal(path, 8_000) for _ in range(3)]
    for writing in [journals[number % 3].append(b"%07d" % number) for number in range(1_500)]:
        writing.result(5)
    kept = [int(line) for file in (path, tmp_path / "f.jsonl.1") for line in file.read_text().split()]
    assert sorted(kept) == list(range(1_500))
    assert (tmp_path / "f.jsonl.1").stat().st_size == 8_000


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    lost: list[Exception] = []
    journal = Journal(tmp_path / "no" / "f.jsonl", 100, lost.append)
    writing = journal.append(b"x")
    with pytest.raises(FileNotFoundError):
        writing.result(5)
    assert len(lost) == 1
