"""What a caller says about kept answers: each word, several of them, and words that are none."""

import asyncio
import json

import pytest

from gateway.caching.directives import NO_WISH, Wish, wish_of
from gateway.runtime import Caller
from gateway.wire.refusals import RefusedError
from policies.cache.rules import CacheRules
from policies.outcome import CacheUse
from providers.base import Request
from tests.gateway.test_cache_edges import _embed, _vectors
from tests.gateway.test_cache_front import BROKEN, REPLY, STREAM, Reader, play

_BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
NO_STORE = Wish(may_use=False, may_keep=False)


@pytest.mark.parametrize(
    ("cache_control", "ours", "wish"),
    [
        ("no-store", "", NO_STORE),
        ("", "no-store", NO_STORE),
        ("max-age=9, No-Store", "", NO_STORE),
        ("no-store", "max-age=9", NO_STORE),
        ("no-cache", "", Wish(may_use=False)),
        ("no-cache, max-age=9", "", Wish(may_use=False, max_age_s=9)),
        ("only-if-cached", "no-cache", Wish(may_use=False, may_ask=False)),
        ("only-if-cached, no-store", "", Wish(may_use=False, may_keep=False, may_ask=False)),
        ("only-if-cached , max-age=9", "", Wish(may_ask=False, max_age_s=9)),
        ('max-age="9"', "", Wish(max_age_s=9)),
        ("max-age=9, max-age=60", "", Wish(max_age_s=9)),
        ("max-age=60", "max-age=9", Wish(max_age_s=9)),
        ("max-age=9", "max-age=60", Wish(max_age_s=60)),
        ("max-age=0", "", Wish(max_age_s=0)),
        ("max-age=99999999999999999999", "", Wish(max_age_s=9_999_999_999)),
        # Nobody knows what it means: as little as can be (RFC 9111, 4.2.1).
        ("max-age=-1", "", Wish(max_age_s=0)),
        ("max-age", "", Wish(max_age_s=0)),
        ("max-age=soon", "", Wish(max_age_s=0)),
        ("private, max-stale=5, , stale-if-error=9", "", NO_WISH),
        ("", "", NO_WISH),
    ],
)
def test_what_the_words_mean(cache_control, ours, wish):
    told = {b"cache-control": cache_control.encode()} if cache_control else {}
    assert wish_of(told | ({b"x-signalbox-cache": ours.encode()} if ours else {})) == wish


def test_a_word_that_our_own_header_does_not_have_is_refused():
    for word in ("bypass", "max-age", "max-age=-1", "max-age=soon", "no-cache no-store", "", "private", "\u0131"):
        with pytest.raises(RefusedError) as refused:
            wish_of({b"x-signalbox-cache": word.encode()})
        assert refused.value.refusal.status == 400, word


async def _send(scene, body=_BODY, raw=None, **headers):
    raw = json.dumps(body).encode() if raw is None else raw
    request = Request("chat", body, raw, "m", stream=False, include_usage=False, request_id="req_1")
    told = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return await scene.pipeline.answer(request, Caller("tester"), Reader(), scene.clock(), None, told)


def test_who_wants_only_what_is_kept_pays_for_nothing_whatever_else_is_said():
    twice = json.dumps(_BODY).encode()[:-1] + b', "model": "m"}'
    ways = {
        "said with it": lambda scene, only: _send(scene, cache_control=f"no-store, {only}"),
        "not to be kept": lambda scene, only: _send(scene, _BODY | {"store": True}, cache_control=only),
        "explained": lambda scene, only: _send(scene, cache_control=only, x_signalbox_explain="1"),
        "named twice": lambda scene, only: _send(scene, raw=twice, cache_control=only),
        "too many inputs": lambda scene, only: _embed(scene, ["a"] * 3000, cache_control=only),
        "inputs of two kinds": lambda scene, only: _embed(scene, ["a", [1]], cache_control=only),
    }

    async def work(scene):
        for number, (name, way) in enumerate(ways.items(), 1):
            with pytest.raises(RefusedError) as refused:
                await way(scene, "only-if-cached")
            assert (refused.value.refusal.status, refused.value.refusal.error["code"]) == (504, "not_cached"), name
            assert scene.used("miss") == number, name
        assert scene.transport.opened == 0

    play(work)


@pytest.mark.parametrize("stream", [False, True])
def test_a_thousand_with_an_age_make_one_call(stream):
    async def work(scene):
        asked = [scene.ask(stream=stream, cache_control=f"max-age={60 + number}") for number in range(500)]
        asked += [scene.ask(stream=stream) for _ in range(500)]
        ends = await asyncio.gather(*asked)
        assert {end.ending for end in ends} == {"ok"}
        assert [end.cache for end in ends].count(CacheUse.SHARED) == 999
        assert scene.transport.opened == 1

    play(work, STREAM if stream else REPLY)


def test_who_wants_it_new_joins_nobody():
    async def work(scene):
        ends = await asyncio.gather(scene.ask(), *(scene.ask(cache_control=said) for said in ("no-cache", "max-age=0")))
        assert [end.cache for end in ends] == [CacheUse.MISS] * 3
        assert scene.transport.opened == 3

    play(work, *[REPLY] * 3)


def test_who_names_an_age_gets_nothing_older_from_the_call_of_another():
    async def work(scene):
        await scene.ask()
        await asyncio.sleep(7200)
        usual = asyncio.create_task(scene.ask())
        await asyncio.sleep(0)
        young = await scene.ask(cache_control="max-age=60")
        assert ((await usual).cache, young.cache, young.ending) == (CacheUse.STALE, CacheUse.MISS, "ok")

    play(work, REPLY, BROKEN, REPLY, rules=CacheRules(stale_s=86400), max_attempts=1)


def test_who_names_an_age_gets_no_older_vector_from_the_call_of_another():
    async def work(scene):
        await _embed(scene, ["a"])
        await asyncio.sleep(100)
        usual = asyncio.create_task(_embed(scene, ["a", "b"]))
        await asyncio.sleep(0)
        young = await _embed(scene, ["a", "b"], cache_control="max-age=60")
        assert json.loads(young.reply.body)["data"][0]["embedding"] == [7.0]
        assert json.loads((await usual).reply.body)["data"][0]["embedding"] == [1.0]

    play(work, _vectors(1.0), _vectors(2.0), _vectors(7.0, 8.0))
