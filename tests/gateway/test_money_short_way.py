"""The short way of a hold and the careful one give the same: on the same requests and changes, unit by unit."""

import asyncio
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.asking import NO_HEADERS, ask_of, decide
from gateway.wire.refusals import RefusedError
from policies.stores.memory import MemoryStore
from providers.base import Usage
from tests.fakes.virtual_time import run_virtual
from tests.gateway.money_scene import Opened, Scene, key, request_of, runtime_of

# The budget and the limit of one name, two keys that share what their team has, and windows of every kind.
_BUDGETS = {
    "all": {"limit_usd": 1.6, "window": "total", "soft_ratio": 0.6},
    "team": {"limit_usd": 1.1, "window": "day", "parent": "all", "carry_over_usd": 0.4},
    "own": {"limit_usd": 0.7, "window": "rolling 1h", "each_key": True},
}
_LIMITS = {
    "team": {"requests_per_minute": 12, "tokens_per_minute": 20_000, "concurrency": 7},
    "own": {"requests_per_minute": 8, "input_tokens_per_minute": 4_000, "output_tokens_per_minute": 12_000},
}
_LATER = (
    {"team": _BUDGETS["team"] | {"limit_usd": 0.3, "time_zone": "Asia/Tokyo"}},
    {"own": _BUDGETS["own"] | {"limit_usd": 0.5, "window": "minute"}, "all": _BUDGETS["all"] | {"limit_usd": 2}},
    {"team": _BUDGETS["team"] | {"shrink_answers": True, "max_request_usd": 0.05}},
)
_ASKED = st.tuples(
    st.just("open"),
    st.sampled_from(["k", "k2"]),
    st.sampled_from(["cheap", "cheap", "dear", "both"]),
    st.sampled_from([None, 3, 300, 300, 2_000]),
    st.sampled_from([3, 900]),
)
_WHICH = st.integers(0, 9)
_STEP = st.one_of(
    _ASKED,
    _ASKED,
    _ASKED,
    st.tuples(st.just("settle"), _WHICH, st.sampled_from([0.0, 0.4, 1.0, 1.3])),
    st.tuples(st.just("covers"), _WHICH),
    st.tuples(st.just("wait"), st.sampled_from([0.4, 20.0, 61.0, 3_000.0, 90_000.0])),
    st.tuples(st.just("raise"), st.sampled_from(["all", "team"]), st.sampled_from([-300_000_000, 200_000_000])),
    st.tuples(st.just("reset"), st.sampled_from(["all", "team"])),
    st.tuples(st.just("reload"), st.integers(0, len(_LATER))),
)


@cache
def _runtime(version):
    """The configuration of the beginning (0), or one of those that come later."""
    changed = _LATER[version - 1] if version else {}
    keys = [key(name, budget="own", limits="own", team="team") for name in ("k", "k2")]
    return runtime_of(
        budgets=_BUDGETS | changed,
        limits=_LIMITS,
        teams={"team": {"budget": "team", "limits": "team"}},
        keys=keys,
        routes={"both": {"strategy": "ordered", "pool": ["dear", "cheap"]}},
    )


class _Forgetful(MemoryStore):
    """Looks at every meter of every hold, as if it had never seen them."""

    def hold(self, hold_id, lines, lease_s, *, is_dispatched=False):
        return super().hold(hold_id, list(lines), lease_s, is_dispatched=is_dispatched)


class Way(Scene):
    """One desk with a store of its own; `is_short`: whether it goes the short way first, as the gateway does."""

    def __init__(self, *, is_short):
        kind = MemoryStore if is_short else _Forgetful
        super().__init__(_runtime(0), kind(asyncio.get_running_loop().time))
        self.is_short = is_short
        self.shortly = 0
        self.opened = []

    async def step(self, name, *rest):
        """What is seen of a step from outside."""
        return await getattr(self, f"_{name}")(*rest)

    async def _open(self, who, model, max_tokens, letters):
        request = request_of(model, "x" * letters, **({} if max_tokens is None else {"max_tokens": max_tokens}))
        caller = self.caller(who)
        ask = ask_of(request, caller, NO_HEADERS, self.loop.time())
        decision = decide(self.runtime, request, ask, caller)
        parts = self.runtime, self.desk.scopes_of(self.runtime, caller, ask, decision), request, ask, decision
        found = self.desk.open_at_once(*parts, NO_HEADERS) if self.is_short else None
        self.shortly += found is not None
        try:
            tab, decision, lines = found or await self.desk.open(*parts, NO_HEADERS, self.loop.time() + 1)
        except RefusedError as refused:
            return refused.refusal.status, refused.refusal.error, refused.refusal.headers
        self.opened.append(Opened(self, request, caller, ask, tab, decision, lines))
        models = [one.model for one in decision.candidates]
        cap = tab.output_cap(decision.candidates[0])
        return list(tab.held), list(tab.left), lines, models, cap

    async def _settle(self, which, share):
        if self.opened:
            opened = self.opened.pop(which % len(self.opened))
            opened.tab.send()
            if share:
                cap = opened.tab.output_cap(opened.decision.candidates[0]) or 9
                opened.call(usage=Usage(input=int(20 * share), output=int(cap * share)))
            opened.settle()
        return [overrun[1:] for overrun in self.store.reports.overruns]

    async def _covers(self, which):
        if not self.opened:
            return None
        opened = self.opened[which % len(self.opened)]
        opened.call()
        return await opened.covers("dear"), list(opened.tab.held)

    async def _wait(self, seconds):
        self.till.renew()

    async def _raise(self, name, amount):
        return self.store.raise_limit(self._meter(name), amount)

    async def _reset(self, name):
        return self.store.reset(self._meter(name))

    async def _reload(self, version):
        self.runtime = _runtime(version)

    def _meter(self, name):
        return next(one.meter for one in self.runtime.scopes.all(()) if one.name == name)

    def books(self):
        """All balances, and the amounts that are held."""
        meters = {scope.meter.id: scope.meter for caller in self.runtime.keys.values() for scope in caller.scopes}
        return self.store.balances(list(meters.values())), [hold.amounts for hold in self.store.open_holds()]


_shortly = []


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(_STEP, min_size=5, max_size=30))
def _plays_the_same(steps):
    async def story():
        short, careful = ways = Way(is_short=True), Way(is_short=False)
        for step in steps:
            if step[0] == "wait":
                await asyncio.sleep(step[1])
            seen, expected = [await way.step(*step) for way in ways]
            assert seen == expected, step
            assert short.books() == careful.books(), step
            for balance in short.books()[0]:
                is_changed = any(kind in ("raise", "reload") for kind, *_ in steps)
                assert is_changed or short.store.reports.overruns or balance.spent + balance.held <= balance.limit
        for way in ways:
            while way.opened:
                await way.step("settle", 0, 0.5)
            assert way.store.open_holds() == []
            assert not way.till.open_tabs
        assert short.books() == careful.books()
        _shortly.append(short.shortly)

    run_virtual(story())


def test_both_ways_hold_and_settle_the_same():
    _shortly.clear()
    _plays_the_same()
    assert sum(_shortly) >= 5, "hardly anybody went the short way"


def test_whoever_fails_between_the_hold_and_its_answer_holds_nothing():
    """An alarm that cannot be rung, as while a gateway ends."""

    async def story(headers):
        scene = Scene(runtime_of(budgets={"own": {"limit_usd": 0.002, "soft_ratio": 0.1, "on_soft": _HOOK}}))

        def closed(work, _):
            work.close()
            raise RuntimeError("the loop is closing")

        scene.soft._start = closed
        with pytest.raises(RuntimeError):
            await scene.open(request_of("cheap", max_tokens=50), headers=headers)
        assert scene.store.open_holds() == []
        assert not scene.till.open_tabs

    run_virtual(story(NO_HEADERS))
    run_virtual(story({b"x-signalbox-budget": b"1"}))


_HOOK = {"webhook": "http://127.0.0.1:9/hook"}
