"""What gateways tell each other of answers that are found by meaning, through a real Redis."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.caching.shared_notes import Note, read, written
from policies.cache.purge import Purge
from policies.cache.sealed import ForgedError
from policies.cache.semantic.settings import SemanticChoice, SemanticSettings
from tests.fakes.redis import RedisServer
from tests.gateway.replicas import PATIENT, QUICK, Replica, play, replicas, until

SECRET = b"s" * 32
BY_MEANING = replace(PATIENT, semantic=SemanticChoice(SemanticSettings()))


@pytest.fixture(scope="module")
def redis():
    with RedisServer() as server:
        yield server


def _compared(replica):
    return replica.keeper.semantic.counts()["entries"]


def _space(replica):
    return replica.redis.key.partition(":")[2].partition("}")[0]


def test_what_one_was_asked_the_others_compare_with(redis):
    async def story():
        async with replicas(redis.url, *[QUICK] * 3, rules=BY_MEANING) as (one, two):
            await one.ask("What is the capital of Kenya?")
            await one.ask("What is the capital of France?")
            await until(lambda: _compared(two) == 2)
            assert len(two.keeper.shelf) == 2
            assert two.transport.opened == 0
            (space,) = two.keeper.semantic.works.spaces
            (other,) = one.keeper.semantic.works.spaces
            assert (space.partition, space.route) == (other.partition, other.route) == ("key:tester", "m")
            await two.ask("Which city is the capital of Kenya?")
            (space,) = two.keeper.semantic.works.spaces
            assert len(space.namespace) == 3, "they are looked up in the same place"
            await until(lambda: _compared(one) == 3)
            third = Replica(redis.url, _space(one), rules=BY_MEANING)
            await until(lambda: _compared(third) == 3)
            await third.close()

    play(story())


def test_whoever_comes_later_compares_with_all_that_was_asked(redis):
    async def story():
        async with replicas(redis.url, *[QUICK] * 70, rules=BY_MEANING) as (one, _):
            for number in range(70):
                await one.ask(f"What is the capital of province {number}?")
            await one.written(70)
            third = Replica(redis.url, _space(one), rules=BY_MEANING)
            await until(lambda: _compared(third) == 70)
            await third.close()

    play(story())


def test_a_purge_takes_it_from_all(redis):
    async def story():
        async with replicas(redis.url, *[QUICK] * 3, rules=BY_MEANING) as (one, two):
            await one.ask("What is the capital of Kenya?")
            await until(lambda: _compared(two) == 1)
            one.keeper.purge(Purge(name="m"))
            await until(lambda: not _compared(two))
            await one.ask("What is the capital of Peru?")
            await until(lambda: _compared(two) == 1)
            third = Replica(redis.url, _space(one), rules=BY_MEANING)
            await until(lambda: _compared(third) == 1)
            await third.close()

    play(story())


def test_who_answers_nothing_by_meaning_hears_nothing(redis):
    async def story():
        async with replicas(redis.url, *[QUICK] * 4, rules=BY_MEANING) as (one, two):
            two.use(PATIENT)
            await one.ask("What is the capital of Kenya?")
            await two.ask("What is the capital of Peru?")
            await two.written()
            assert redis.ask("XLEN", f"{one.redis.key}:notes") == 1, "and tells nothing"
            two.use(BY_MEANING)
            await until(lambda: _compared(two) == 1)

    play(story())


def test_what_somebody_else_writes_is_passed_over(redis):
    async def story():
        async with replicas(redis.url, QUICK, rules=BY_MEANING) as (one, two):
            stream = f"{one.redis.key}:notes"
            redis.ask("XADD", stream, "*", "whose", '["m","key:tester"]', "note", b"SB1-" + bytes(40))
            redis.ask("XADD", stream, "*", "whose", "7", "note", "x")
            redis.ask("XADD", stream, "*", "whose", '["m","key:tester","x"]')
            redis.ask("XADD", stream, "*", "a", "b")
            await one.ask("What is the capital of Kenya?")
            await until(lambda: _compared(two) == 1)
            ((_, members),) = redis.ask("XREVRANGE", stream, "+", "-", "COUNT", 1)
            note = members[b"note"]
            redis.ask("XADD", stream, "*", "whose", '["m","key:another"]', "note", note)
            redis.ask("XADD", stream, "*", "whose", '["m","key:tester"]', "note", note[:-1] + b"x")
            third = Replica(redis.url, _space(one), rules=BY_MEANING)
            await until(lambda: _compared(third) == 1)
            assert (third.redis.notes.taken, _compared(one), _compared(two)) == (1, 1, 1)
            await third.close()

    play(story())


notes = st.builds(
    Note,
    st.binary(max_size=32),
    st.text(st.characters(codec="utf-8"), max_size=9),
    st.binary(max_size=32),
    st.text(st.characters(codec="utf-8"), max_size=200),
    st.lists(st.floats(width=32, allow_nan=False), max_size=8),
)


@settings(max_examples=12)
@given(notes, st.binary(max_size=30))
def test_a_note_comes_back_as_it_was_or_not_at_all(note, other):
    data = written(note, SECRET)
    assert read(data, SECRET) == note
    for bad in (other, data[:-1], data + b"x"):
        with pytest.raises(ForgedError):
            read(bad, SECRET)
    with pytest.raises(ForgedError):
        read(data, b"t" * 32)
    with pytest.raises(ValueError, match="no form"):
        written(note._replace(said="\ud800"), SECRET)
