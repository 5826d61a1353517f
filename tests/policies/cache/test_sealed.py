"""Kept answers as bytes: what comes back is what went in, and nothing else comes back at all."""

import zlib
from dataclasses import fields
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cache.sealed import _AS_THEY_ARE, ForgedError, Sealed, name_of, seal, unseal
from policies.cache.shelf import Entry, Source
from providers.base import Usage

SECRET = b"s" * 32
MOST = 1_000_000


def kept(body=b'{"a": 1}', **more):
    entry = Entry(b"k" * 32, "key:ada", "auto", body, Usage(input=7, output=3), "stop", 100.5, 3700.5, **more)
    return Sealed(entry, "era", 4)


def same(one, other):
    return (one.era, one.seq) == (other.era, other.seq) and all(
        getattr(one.entry, field.name) == getattr(other.entry, field.name) for field in fields(Entry)
    )


texts = st.text(st.characters(codec="utf-8"), max_size=30)


@settings(max_examples=15)
@given(
    st.builds(
        Entry,
        key=st.binary(min_size=32, max_size=32),
        partition=texts,
        name=texts,
        body=st.binary(max_size=300) | st.binary(min_size=1, max_size=20).map(lambda part: part * 5000),
        usage=st.none() | st.builds(Usage, input=st.integers(0, 9), output=st.integers(0, 9)),
        finish_reason=st.none() | texts,
        stored_s=st.floats(0, 4e9),
        fresh_until_s=st.floats(0, 4e9),
        summary=texts,
        answered_by=st.binary(max_size=20),
        cost_nusd=st.none() | st.integers(0, 10**12),
        tags=st.frozensets(texts, max_size=3),
        loose_key=st.none() | st.binary(min_size=32, max_size=32),
        source=st.builds(Source, st.none() | texts, texts, texts, texts),
        caller=texts,
        asked_s=st.floats(0, 4e9),
        uses=st.just(0),
    ),
    st.integers(0, 10**9),
)
def test_it_comes_back_as_it_was(entry, seq):
    one = Sealed(entry, "era", seq)
    assert same(unseal(seal(one, SECRET), SECRET, MOST), one)


def test_every_fact_is_kept():
    told = {"key", "body", "loose_key", "answered_by", "tags", "usage", "source", *_AS_THEY_ARE}
    assert {field.name for field in fields(Entry) if field.init} == told | {"uses"}


def test_what_repeats_itself_gets_shorter_and_nothing_gets_longer():
    assert len(seal(kept(b"all the same " * 500), SECRET)) < 1_000
    for body in (b"", b"x", bytes(range(256)) * 2):
        assert len(seal(kept(body), SECRET)) < len(body) + 600


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 255), st.sampled_from([b'{"a": 1}', b"all the same " * 500]))
def test_no_changed_byte_goes_through(place, change, body):
    data = bytearray(seal(kept(body), SECRET))
    data[place % len(data)] ^= change
    with pytest.raises(ForgedError):
        unseal(bytes(data), SECRET, MOST)


@given(st.binary(max_size=200))
def test_nothing_made_up_goes_through(data):
    for made_up in (data, b"SB1-" + data, b"SB1z" + data):
        with pytest.raises(ForgedError):
            unseal(made_up, SECRET, MOST)


@settings(max_examples=30)
@given(st.binary(max_size=200) | st.binary(max_size=100).map(zlib.compress), st.sampled_from([b"z", b"-"]))
def test_whoever_knows_the_secret_still_has_to_know_the_form(data, form):
    mark = blake2b(form + data, key=SECRET, digest_size=16).digest()
    with pytest.raises(ForgedError):
        unseal(b"SB1" + form + mark + data, SECRET, MOST)


def test_what_has_no_form_is_not_written():
    with pytest.raises(ValueError, match="no form"):
        seal(kept(summary="\ud800"), SECRET)


def test_another_secret_opens_nothing_and_finds_nothing():
    with pytest.raises(ForgedError):
        unseal(seal(kept(), SECRET), b"t" * 32, MOST)
    names = {name_of(key, secret) for key in (b"k" * 32, b"l" * 32) for secret in (SECRET, b"t" * 32)}
    assert len(names) == 4
    assert {len(name) for name in names} == {32}


def test_a_bomb_is_not_unpacked():
    data = seal(kept(bytes(10_000_000)), SECRET)
    assert len(data) < 60_000
    with pytest.raises(ForgedError):
        unseal(data, SECRET, MOST)
    with pytest.raises(ForgedError):
        unseal(seal(kept(b"x" * 11), SECRET), SECRET, 10)
