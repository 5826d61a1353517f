"""Answers in memory: bounded, fresh, and what is asked for stays."""

import tracemalloc
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from policies.cache.shelf import Entry, Shelf, Source
from providers.base import Usage
from routing.decision import Decision


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def _key(number):
    return Random(number).randbytes(32)


def _entry(number, size=100, until=2000.0):
    return Entry(
        _key(number), "key:a", "m", b"x" * size, None, "stop", 1000.0, until, loose_key=b"loose" + _key(number)
    )


ONE = _entry(0).size


def test_an_entry_is_found_until_it_is_no_longer_fresh():
    clock = Clock()
    shelf = Shelf(clock, 100 * ONE, keep_s=50)
    shelf.put(_entry(1))
    assert shelf.get(_key(1)).body == b"x" * 100
    assert shelf.get(_key(2)) is None
    clock.now = 2000.0
    assert shelf.get(_key(1)) is None
    assert shelf.get(_key(1), is_stale_fine=True) is not None
    clock.now = 2050.0
    assert shelf.get(_key(1), is_stale_fine=True) is None
    assert (len(shelf), shelf.size) == (0, 0)


def test_a_newer_answer_takes_the_place_of_the_one_before():
    shelf = Shelf(Clock(), 100 * ONE)
    shelf.put(_entry(1))
    shelf.put(_entry(1, size=50))
    assert (len(shelf), shelf.get(_key(1)).body) == (1, b"x" * 50)


def test_what_would_fill_the_shelf_is_not_kept():
    shelf = Shelf(Clock(), 4 * ONE)
    shelf.put(_entry(1, size=200))
    assert len(shelf) == 0


def test_a_flood_of_questions_asked_once_does_not_push_out_what_is_asked_all_day():
    shelf = Shelf(Clock(), 50 * ONE)
    for number in range(20):
        shelf.put(_entry(number))
    for _ in range(3):
        assert all(shelf.get(_key(number)) is not None for number in range(20))
    for number in range(100, 1100):
        shelf.get(_key(number))  # the look-up before each answer
        shelf.put(_entry(number))
    assert sum(shelf.get(_key(number)) is not None for number in range(20)) >= 19
    assert shelf.evicted >= 950


def test_what_is_asked_for_anew_finds_its_place():
    shelf = Shelf(Clock(), 50 * ONE)
    for number in range(100):
        shelf.get(_key(number))
        shelf.put(_entry(number))
    for _ in range(10):  # yesterday's entries are asked for no longer, these are
        for number in range(200, 220):
            if shelf.get(_key(number)) is None:
                shelf.put(_entry(number))
    assert all(shelf.get(_key(number)) is not None for number in range(200, 220))


def test_an_entry_takes_no_more_room_than_is_counted():
    """As the gateway makes them, each with facts of its own, after a hit."""
    tracemalloc.start()
    entries = [
        Entry(
            **{"key": _key(number), "partition": f"key:{number}", "name": "m", "body": b"%0999d" % number},
            **{
                "usage": Usage(input=300 + number, output=400 + number),
                "finish_reason": "stop",
                "cost_nusd": 10**6 + number,
            },
            **{
                "stored_s": number + 0.5,
                "fresh_until_s": number + 9.5,
                "asked_s": number + 0.25,
                "asked": f"p/{number}",
            },
            **{"summary": f"complexity;route=auto;tier=simple;confidence=0.{number}", "loose_key": _key(-number)},
            source=Source("auto", "m", "p/m", "p"),
        )
        for number in range(300, 600)
    ]
    shelf = Shelf(Clock(), 10**9)
    for entry in entries:
        shelf.put(entry)
        entry.decision = Decision(entry.name, "cached", (), summary=entry.summary)
        entry.head_lines(0.0)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken <= shelf.size


def test_smaller_limits_hold_at_once():
    shelf = Shelf(Clock(), 100 * ONE)
    for number in range(50):
        shelf.put(_entry(number))
    shelf.limit(10 * ONE, 0)
    assert shelf.size <= 10 * ONE
    assert len(shelf) > 0
    shelf.limit(0, 0)
    assert (len(shelf), shelf.size) == (0, 0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "get", "drop", "limit"]), st.integers(0, 20), st.integers(0, 5000)),
        max_size=60,
    )
)
def test_it_never_holds_more_than_it_may_and_knows_what_it_holds(steps):
    shelf, most = Shelf(Clock(), 20 * ONE), 20 * ONE
    for what, number, size in steps:
        if what == "put":
            shelf.put(_entry(number, size))
        elif what == "get":
            found = shelf.get(_key(number))
            assert found is None or found.key == _key(number)
        elif what == "drop":
            shelf.drop(_key(number))
            assert shelf.get(_key(number)) is None
        else:
            most = size * 10
            shelf.limit(most, 0)
        assert shelf.size == sum(entry.size for entry in shelf) <= most
        assert len(shelf) == len(list(shelf))
        assert all(shelf.get_loose(_loose(number)) in (None, _found(shelf, number)) for number in range(21))


def _loose(number):
    return b"loose" + _key(number)


def _found(shelf, number):
    return next((entry for entry in shelf if entry.key == _key(number)), None)


def test_other_letters_find_the_latest_entry_and_nothing_when_it_is_gone():
    shelf = Shelf(Clock(), 100 * ONE)
    for number in (1, 2):
        entry = _entry(number)
        entry.loose_key = b"same"
        shelf.put(entry)
    assert shelf.get_loose(b"same").key == _key(2)
    shelf.drop(_key(1))
    assert shelf.get_loose(b"same").key == _key(2)
    shelf.drop(_key(2))
    assert shelf.get_loose(b"same") is None
    for number in range(3, 500):
        entry = _entry(number)
        entry.loose_key = _loose(number)
        shelf.put(entry)
    assert len(shelf._by_loose) == len(shelf) < 101, "no name outlives its entry"


def test_whoever_listens_hears_of_every_entry_that_leaves_and_of_no_replacement():
    shelf = Shelf(lambda: 0.0, 40_000)
    heard, kept = [], set()
    shelf.on_gone = heard.append
    for number in range(200):
        entry = _entry(number % 60)
        kept.add(entry.key)
        shelf.put(entry)
    assert set(heard) | {entry.key for entry in shelf} == kept
    assert all(entry.key in shelf for entry in shelf)
    heard.clear()
    key = next(iter(shelf)).key
    shelf.put(next(iter(shelf)))
    assert heard == []
    shelf.drop(key)
    assert heard == [key]
    assert key not in shelf
