"""Which conversation a request belongs to, and what the book remembers of it."""

import tracemalloc
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Target, Usage
from providers.pricing import Price, Rates
from routing.affinity import AffinityBook, session_of
from routing.decision import Deployment

CODEX = {b"session-id": b"s-1", b"thread-id": b"t-1"}


def rates(read=None, write=None, base=1_000):
    read, write = base if read is None else read, base if write is None else write
    return Rates(base, 4 * base, read, write, write, base, base, 4 * base, 4 * base, 4 * base)


FREE_WRITES = Price(rates(read=100))
PAID_WRITES = Price(rates(read=100, write=1_250))


def deployment(name="a", price=FREE_WRITES):
    return Deployment(f"p/{name}", f"p/{name}", name, "p", Target(name), price)


def chat(*contents, system="Be brief."):
    roles = ["user", "assistant"] * len(contents)
    said = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return {"messages": [{"role": "system", "content": system}, *said] if system else said}


def session(body=None, headers=None, key="k", name=""):
    return session_of(headers or {}, chat("Hello") if body is None else body, key, name)


# Ids that clients give.


@pytest.mark.parametrize(
    "header",
    [
        b"x-signalbox-session",
        b"session-id",
        b"session_id",
        b"thread-id",
        b"x-session-id",
        b"x-session-affinity",
        b"x-claude-code-session-id",
        b"x-opencode-session",
        b"x-litellm-session-id",
        b"helicone-session-id",
        b"x-openwebui-chat-id",
        b"x-grok-conv-id",
        b"x-some-new-agent-session-id",
    ],
)
def test_an_id_in_a_header_is_the_conversation_whatever_is_said(header):
    one = session(chat("Hello"), {header: b"1", b"accept": b"*/*"})
    assert one == session(chat("Something else"), {header: b" 1 "})
    assert one != session(chat("Hello"), {header: b"2"})
    assert session(headers={header: b"  "}) == session()


@pytest.mark.parametrize(
    "fields",
    [
        {"session_id": "1"},
        {"session_id": 1},
        {"conversation_id": "1"},
        {"thread_id": "1"},
        {"chat_id": "1"},
        {"litellm_session_id": "1"},
        {"conversation": "1"},
        {"conversation": {"id": "1"}},
        {"metadata": {"session_id": "1"}},
        {"metadata": {"thread_id": "1"}},
        {"metadata": {"langfuse_session_id": "1"}},
        {"metadata": {"user_id": "user_ab_account__session_0d3f"}},
        {"metadata": {"user_id": '{"device_id":"ab","session_id":"0d3f"}'}},
        {"user": "user_ab_account__session_0d3f"},
    ],
)
def test_an_id_in_the_body_is_the_conversation_whatever_is_said(fields):
    assert session(chat("Hello") | fields) == session(chat("Something else") | fields)
    assert session(chat("Hello") | fields) != session(chat("Hello"))


def test_a_user_is_no_conversation():
    one = {"user": "anna", "metadata": {"user_id": "anna"}}
    assert session(chat("Hello") | one) != session(chat("Something else") | one)


def test_our_own_header_wins_and_a_thread_is_narrower_than_its_session():
    assert session(headers={b"x-signalbox-session": b"1", **CODEX}) == session(headers={b"x-signalbox-session": b"1"})
    assert session(headers=CODEX) != session(headers={**CODEX, b"thread-id": b"t-2"})
    assert session(chat("Hello") | {"session_id": "9"}, CODEX) == session(headers=CODEX)


def test_a_sub_agent_has_a_conversation_of_its_own():
    main = {b"x-claude-code-session-id": b"1"}
    agents = [session(headers=main | {b"x-claude-code-agent-id": agent}) for agent in (b"a", b"b")]
    assert len({session(headers=main), *agents}) == 3


def test_a_cache_key_for_a_whole_application_joins_no_conversations():
    shared = {"prompt_cache_key": "my-app"}
    assert session(chat("Hello") | shared) != session(chat("Something else") | shared)
    assert session(chat("Hello") | shared) != session(chat("Hello") | {"prompt_cache_key": "other"})


# Without an id: the opening.


def test_later_turns_belong_to_the_conversation_that_opened_so():
    opened = session(chat("Hello"))
    assert session(chat("Hello", "Hi!", "And now?")) == opened
    assert session(chat("Hello", "Hi!", "And now?", "This.", "Thanks")) == opened
    with_limit = chat("Hello", "Hi!", "And now?") | {"temperature": 0.1, "tools": [{"type": "function"}]}
    assert session(with_limit) == opened


def test_another_opening_is_another_conversation():
    bodies = [
        chat("Hello"),
        chat("Hello!"),
        chat("Hello", system="Be long."),
        chat("Hello", system=None),
        {"system": "Be brief!", **chat("Hello", system=None)},
        {"input": "Hello from far"},
        {"input": "Hello", "instructions": "Be kind."},
        {"prompt": "Hello there"},
    ]
    found = [session(body) for body in bodies]
    assert all(a != b for a, b in combinations(found, 2))


def test_the_same_opening_in_other_shapes_is_the_same_conversation():
    parts = [{"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}]
    plain = chat("Hello")["messages"]
    assert session({"messages": [{"role": "developer", "content": "Be brief."}, plain[1]]}) == session()
    assert session({"messages": [plain[0], {"role": "user", "content": parts}]}) == session()
    assert session({"system": "Be brief.", "messages": plain[1:]}) == session()
    assert session({"instructions": "Be brief.", "input": plain[1:]}) == session()


def test_a_long_opening_is_the_same_as_text_and_as_a_part():
    text = "".join(map(str, range(5_000)))
    parts = [{"type": "text", "text": text}]
    assert session(chat(parts, system=parts)) == session(chat(text, system=text))


def test_long_openings_differ_by_what_stands_behind_the_notes_of_the_project():
    notes = "Rules of this project. " * 2_000
    assert session(chat(notes + "Fix the parser")) != session(chat(notes + "Write the docs"))
    parts = [[{"type": "text", "text": notes}, {"type": "text", "text": end}] for end in ("Fix it", "Write it")]
    assert session(chat(parts[0])) != session(chat(parts[1]))
    assert session(chat(notes + "x" + notes)) != session(chat(notes + "xy" + notes))


def test_the_same_question_about_other_pictures_is_another_conversation():
    def about(url):
        part = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
        return chat([{"type": "text", "text": "Read this invoice"}, part])

    data = "data:image/png;base64," + "iVBORw0KGgo" * 500
    assert session(about(data + "AAAA")) != session(about(data + "BBBB"))
    assert session(about(data + "AAAA")) == session(about(data + "AAAA"))


def test_two_callers_never_share_a_conversation():
    for headers in ({}, CODEX):
        assert session(headers=headers, key="a") != session(headers=headers, key="b")


def test_what_is_asked_for_separates():
    assert session(headers=CODEX, name="auto") != session(headers=CODEX, name="background")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_KEYS = st.sampled_from(
    ["messages", "input", "prompt", "system", "instructions", "metadata", "conversation", "user", "session_id"]
)
_MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]) | _JSON, "content": _JSON})


@given(
    body=st.dictionaries(_KEYS, _JSON | st.lists(_MESSAGE | _JSON, max_size=4)),
    headers=st.dictionaries(st.sampled_from([b"session-id", b"x-session-id", b"a-session-id"]), st.binary(max_size=9)),
    key=st.text(),
)
def test_any_body_has_a_conversation(body, headers, key):
    one = session_of(headers, body, key)
    assert len(one) == 16
    assert session_of(headers, body, key) == one


def test_of_much_text_little_is_copied():
    part = {"type": "text", "text": "x" * 1_000_000}
    body = chat([part] * 100, system="y" * 1_000_000)
    tracemalloc.start()
    try:
        session(body)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 500_000


# The book.


class Hours:
    """A clock that stands still until it is told to go."""

    def __init__(self):
        self.now_s = 1_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Hours()


@pytest.fixture
def book(clock):
    return AffinityBook(clock, max_entries=3, ttl_s=3_600)


def test_a_conversation_is_found_where_it_was_last(book, clock):
    assert book.get(b"1") is None
    book.note(b"1", deployment("a"), "simple", Usage(input=2_000))
    clock.now_s += 10
    book.note(b"1", deployment("a"), "medium", Usage(input=100, cache_read=2_000))
    stay = book.get(b"1")
    assert (stay.model, stay.deployment_id, stay.tier) == ("a", "p/a", "medium")
    assert (stay.turns, stay.moves, stay.since_s, stay.last_s) == (2, 0, 1_000, 1_010)
    assert book.get(b"2") is None


def test_a_move_is_a_new_stay_of_the_same_conversation(book, clock):
    book.note(b"1", deployment("a"), "simple", Usage(input=2_000))
    clock.now_s += 10
    book.note(b"1", deployment("b"), "complex", Usage(input=2_100))
    stay = book.get(b"1")
    assert (stay.model, stay.turns, stay.moves, stay.since_s) == ("b", 2, 1, 1_010)


def test_a_silent_conversation_is_forgotten(book, clock):
    book.note(b"1", deployment(), None, Usage(input=2_000))
    clock.now_s += 3_600
    assert book.get(b"1") is not None
    clock.now_s += 1
    assert book.get(b"1") is None
    assert len(book) == 0


def test_a_conversation_that_was_forgotten_starts_again(book, clock):
    book.note(b"1", deployment(), None, Usage(input=2_000))
    clock.now_s += 3_601
    book.note(b"1", deployment(), None, Usage(input=2_000))
    assert book.get(b"1").turns == 1


def test_the_book_is_bounded_and_forgets_the_longest_silent(book):
    for name in (b"1", b"2", b"3"):
        book.note(name, deployment(), None, Usage(input=2_000))
    book.note(b"1", deployment(), None, Usage(input=2_000))
    book.note(b"4", deployment(), None, Usage(input=2_000))
    assert len(book) == 3
    assert book.get(b"2") is None
    assert all(book.get(name) for name in (b"1", b"3", b"4"))


def test_what_has_expired_makes_room_as_others_come(clock):
    book = AffinityBook(clock, max_entries=1_000)
    for number in range(100):
        book.note(str(number).encode(), deployment(), None, Usage())
    clock.now_s += 3_601
    for number in range(100):
        book.note(f"new {number}".encode(), deployment(), None, Usage())
    assert len(book) == 100


# What is in the prompt cache.


def held(book, *usages, price=FREE_WRITES):
    for usage in usages:
        book.note(b"1", deployment(price=price), None, usage)
    return book.get(b"1").prefix_tokens


def test_a_first_long_prompt_is_taken_to_be_cached(book):
    assert held(book, Usage(input=2_000)) == 2_000
    assert held(book, Usage(input=500, cache_read=2_000)) == 2_500


def test_a_short_prompt_is_not_cached(book):
    assert held(book, Usage(input=1_000)) == 0


def test_a_second_prompt_that_was_not_read_from_the_cache_shows_that_there_is_none(book):
    assert held(book, Usage(input=2_000), Usage(input=2_500)) == 0
    assert book.get(b"1").has_caching is False
    assert held(book, Usage(input=700, cache_read=2_300)) == 3_000
    assert book.get(b"1").has_caching is True


def test_where_writes_are_charged_nothing_written_is_nothing_cached(book):
    assert held(book, Usage(input=2_000), price=PAID_WRITES) == 0
    assert book.get(b"1").has_caching is False
    assert held(book, Usage(input=50, cache_read=1_500, cache_write_5m=400), price=PAID_WRITES) == 1_900


def test_an_estimated_count_is_no_evidence(book):
    assert held(book, Usage(input=2_000), Usage(input=2_500, is_estimated=True)) == 2_500


@pytest.mark.parametrize(
    ("price", "usage", "life_s"),
    [
        (FREE_WRITES, Usage(input=2_000), 600),
        (PAID_WRITES, Usage(cache_write_5m=2_000), 300),
        (PAID_WRITES, Usage(cache_write_1h=2_000), 3_600),
    ],
)
def test_a_cache_lives_as_long_as_its_class(clock, price, usage, life_s):
    book = AffinityBook(clock, ttl_s=10_000)
    assert held(book, usage, price=price) == 2_000
    clock.now_s += life_s
    assert book.get(b"1").prefix_tokens == 2_000
    clock.now_s += 0.5
    assert book.get(b"1").prefix_tokens == 0


def test_reading_a_long_lived_cache_keeps_it_long_lived(book, clock):
    held(book, Usage(cache_write_1h=2_000), price=PAID_WRITES)
    clock.now_s += 2_000
    assert held(book, Usage(input=20, cache_read=2_000), price=PAID_WRITES) == 2_000
    clock.now_s += 2_000
    assert book.get(b"1").prefix_tokens == 2_000


def test_a_cache_that_expired_is_no_evidence_against_caching(book, clock):
    held(book, Usage(input=2_000))
    clock.now_s += 1_000
    assert held(book, Usage(input=2_500)) == 2_500
    assert book.get(b"1").has_caching is True
