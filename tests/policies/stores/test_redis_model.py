"""Scripts against the store in memory: whatever is done in whatever order, both answer and count the same."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.stores.base import Denied, Granted, Meter, Unit
from policies.windows import Calendar, RollingWindow
from tests.policies.stores import kinds

_METERS = (
    kinds.budget(1000, Calendar.HOUR, carry_max=300),
    kinds.budget(2500, Calendar.DAY, name="company"),
    kinds.budget(9000, Calendar.TOTAL),
    Meter("rolling", Unit.TOKENS, 700, RollingWindow(900.0, 7)),
    kinds.at_once(600),
)
_ids = st.sampled_from("abcdef")
_amounts = st.integers(0, 400)
_lines = st.lists(st.tuples(st.sampled_from(_METERS), _amounts), min_size=1, max_size=4, unique_by=lambda line: line[0])
_steps = st.one_of(
    st.tuples(st.just("hold"), _lines, st.sampled_from([30.0, 500.0, 5000.0]), st.booleans()),
    st.tuples(st.just("hold again"), _ids),
    st.tuples(st.just("extend"), _ids, st.lists(st.integers(-100, 300), min_size=4, max_size=4)),
    st.tuples(st.just("settle"), _ids, st.lists(_amounts, min_size=4, max_size=4)),
    st.tuples(st.just("dispatched"), _ids),
    st.tuples(st.just("renew"), _ids, st.sampled_from([30.0, 5000.0])),
    st.tuples(st.just("raise"), st.sampled_from(_METERS), st.integers(-200, 500)),
    st.tuples(st.just("reset"), st.sampled_from(_METERS)),
    st.tuples(st.just("pass"), st.sampled_from([0.3, 20.0, 128.0, 1000.0, 3600.0, 100_000.0])),
)


class Play:
    """The same steps for any store; ids of holds are given in order, so that they are never used again."""

    def __init__(self, driver):
        self.driver = driver
        self.held = {}
        self.number = 0

    def step(self, kind, *arguments):
        return getattr(self, "_" + kind.replace(" ", "_"))(*arguments)

    def _hold(self, lines, lease_s, is_dispatched):
        self.number += 1
        letter = "abcdef"[self.number % 6]
        self.held[letter] = (f"{letter}{self.number}", lines, lease_s, is_dispatched)
        return self._hold_again(letter)

    def _hold_again(self, letter):
        expired = self.driver.store.reports.expired
        if letter not in self.held or any(hold.id == self.held[letter][0] for hold in expired):
            return None  # an id is used for one hold only
        hold_id, lines, lease_s, is_dispatched = self.held[letter]
        return self.driver.hold(hold_id, *lines, lease_s=lease_s, is_dispatched=is_dispatched)

    def _extend(self, letter, amounts):
        hold = {hold.id: hold for hold in self.driver.open_holds()}.get(self.held.get(letter, ("",))[0])
        if hold is None:
            return None
        # Where nothing is held, Redis forgets what was spent in a window that is over, and refuses more.
        more = [max(amount, -had) if had else 0 for amount, had in zip(amounts, hold.amounts.values(), strict=False)]
        return self.driver.extend(hold.id, *more)

    def _settle(self, letter, amounts):
        hold = self.held.pop(letter, None)
        if hold is not None:
            self.driver.settle(hold[0], *amounts[: len(hold[1])])

    def _dispatched(self, letter):
        if letter in self.held:
            self.driver.dispatched(self.held[letter][0])

    def _renew(self, letter, lease_s):
        if letter in self.held:
            self.driver.renew([self.held[letter][0]], lease_s)

    def _raise(self, meter, amount):
        return self.driver.raise_limit(meter, amount)

    def _reset(self, meter):
        return self.driver.reset(meter)

    def _pass(self, seconds):
        self.driver.pass_time(seconds)
        self.driver.open_holds()  # has the store look for leases that are over: some do so at every call

    def state(self):
        balances = [self.driver.balance(meter) for meter in _METERS]
        holds = sorted(self.driver.open_holds(), key=lambda hold: hold.id)
        expired = sorted(self.driver.store.reports.expired, key=lambda hold: hold.id)
        return balances, holds, expired


@settings(max_examples=60)
@given(st.lists(_steps, min_size=5, max_size=25))
def test_redis_and_memory_agree(redis_server, steps):
    with asyncio.Runner() as runner:
        plays = [Play(kinds.memory(runner)), Play(kinds.redis(runner, redis_server.url))]
        try:
            for step in steps:
                answers = [play.step(*step) for play in plays]
                assert answers[0] == answers[1], step
            states = [play.state() for play in plays]
            assert states[0] == states[1]
        finally:
            plays[1].driver.close()


def test_nothing_more_is_held_in_a_window_that_nobody_knows(redis_server):
    day = kinds.budget(1000)
    with asyncio.Runner() as runner:
        driver = kinds.redis(runner, redis_server.url)
        driver.hold("spent", (day, 990))
        driver.settle("spent", 990)
        driver.hold("a", (day, 0), lease_s=90_000)
        driver.pass_time(43_201)
        driver.hold("b", (day, 1000))
        denied = driver.extend("a", 500)
        assert isinstance(denied, Denied)
        assert denied.limit == 1000
        assert isinstance(driver.extend("a", 0), Granted)
        driver.close()
