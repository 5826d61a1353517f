"""Purges that several processes know of: whatever is heard late, twice or not at all, what was purged is not given."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cache.purge import Purge
from policies.cache.purge_log import EVERYTHING, PurgeLog
from policies.cache.shelf import Entry


def entry(name="a", tags=()):
    return Entry(b"k" * 32, "key:ada", name, b"", None, None, 0.0, 1.0, tags=frozenset(tags))


A, B, TAGGED = Purge(name="a"), Purge(name="b"), Purge(tag="t", partition="key:ada")


def test_a_name_is_what_was_asked_for_or_what_was_decided_for_instead():
    one = Entry(b"k" * 32, "key:ada", "p/*", b"", None, None, 0.0, 1.0, asked="p/some-model")
    taken = [name for name in ("p/*", "p/some-model", "p/other", "p", "") if Purge(name=name).takes(one)]
    assert taken == ["p/*", "p/some-model"]


def test_every_condition_that_is_set_has_to_hold():
    one = Entry(b"k" * 32, "group:g", "m", b"", None, None, 0.0, 1.0, tags=frozenset("t"), caller="ada", asked="m")
    right = {"entry": b"k".hex() * 8, "partition": "group:g", "name": "m", "tag": "t", "caller": "ada"}
    assert right.keys() == Purge.__dataclass_fields__.keys()
    assert Purge().takes(one)
    assert Purge(**right).takes(one)
    for name, value in right.items():
        assert Purge(**{name: value}).takes(one), name
        assert not Purge(**{name: value + "x"}).takes(one), name
        assert not Purge(**right | {name: ""}).takes(one), name
        assert Purge(**Purge(**{name: value}).to_json()) == Purge(**{name: value}), "as it is told to others"


def test_an_answer_is_taken_by_what_came_after_it_alone():
    log = PurgeLog()
    assert not log.allows(entry(), "", 0), "nobody was asked yet"
    assert log.hear("x", 3, [(1, A), (2, B), (3, TAGGED)]) == [A, B, TAGGED]
    assert [log.allows(entry(), "x", seq) for seq in range(4)] == [False, True, True, True]
    assert [log.allows(entry("c", "t"), "x", seq) for seq in range(4)] == [False, False, False, True]
    assert log.allows(entry("c"), "x", 0)
    assert not log.allows(entry("c"), "y", 3), "of another era"


def test_what_is_heard_twice_or_late_is_nothing_new():
    log = PurgeLog()
    log.hear("x", 2, [(1, A), (2, B)])
    assert log.hear("x", 2, [(1, A), (2, B)]) == []
    assert log.hear("x", 1, [(1, A)]) == []
    assert log.hear("x", 3, [(2, B), (3, TAGGED)]) == [TAGGED]


@pytest.mark.parametrize(
    ("rows", "floor"),
    [([(5, A)], 4), ([], 5), ([(3, A), (5, B)], 4), ([(3, A), (4, None), (5, B)], 4), ([(3, A)], 5)],
    ids=["gap before", "none", "gap between", "not understood", "gap behind"],
)
def test_where_one_is_missing_everything_older_goes(rows, floor):
    log = PurgeLog()
    log.hear("x", 2, [(1, A), (2, A)])
    assert log.hear("x", 5, rows) == [EVERYTHING]
    assert [log.allows(entry("c"), "x", seq) for seq in range(6)] == [seq >= floor for seq in range(6)]


def test_a_new_era_begins_with_nothing():
    log = PurgeLog()
    log.hear("x", 7, [(6, A), (7, A)])
    assert not log.allows(entry("c"), "x", 4)
    assert log.hear("y", 0, []) == [EVERYTHING]
    assert not log.allows(entry("c"), "x", 7)
    assert log.allows(entry("a"), "y", 0)


def test_more_than_is_remembered():
    log = PurgeLog(most=10)
    assert log.hear("x", 15, [(number, B) for number in range(1, 16)]) == [B] * 15
    assert [log.allows(entry("c"), "x", seq) for seq in (4, 5)] == [False, True]
    assert log.hear("x", 60, [(number, B) for number in range(16, 61)]) == [EVERYTHING], "to be quick"


purges = st.builds(Purge, name=st.sampled_from([None, "a", "b"]), tag=st.sampled_from([None, "t"]))


@settings(max_examples=25)
@given(st.lists(purges, max_size=30), st.data())
def test_whatever_is_lost_on_the_way_no_purged_answer_is_given(made, data):
    log, shelf = PurgeLog(most=data.draw(st.integers(1, 10))), []
    upto = 0
    while upto < len(made):
        now = data.draw(st.integers(upto, len(made)))
        rows = [(number, made[number - 1]) for number in range(1, now + 1) if data.draw(st.booleans())]
        for purge in log.hear("x", now, rows):
            shelf = [one for one in shelf if not purge.takes(one[0])]
        upto = now if now > upto else upto + 1
        one = entry(data.draw(st.sampled_from("abc")), data.draw(st.sampled_from([(), ("t",)])))
        shelf.append((one, log.seq))
        for kept, seq in [*shelf, *((one, seq) for seq in range(log.seq + 1))]:
            is_taken = any(purge.takes(kept) for purge in made[seq : log.seq])
            assert not (is_taken and (log.allows(kept, "x", seq) or (kept, seq) in shelf))
