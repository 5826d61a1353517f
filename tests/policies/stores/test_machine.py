"""Any order of operations and restarts gives what the plain model says: never over a limit, each settlement once."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from policies.stores.base import Granted, Line, Settlement
from policies.stores.entries import Ledger
from policies.stores.groups import Asked
from policies.stores.memory import MemoryStore
from policies.stores.sqlite import SqliteStore
from tests.policies.stores.crashes import abandon, entry
from tests.policies.stores.kinds import Clock
from tests.policies.stores.model import METERS, Model

SAME = tuple(METERS)
AMOUNTS = st.tuples(st.integers(0, 700), st.integers(0, 700), st.integers(1, 2))


class MemoryMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.model = Model()
        self.number = 0
        self.given: list[str] = []
        self.store = self.opened()

    def opened(self):
        return MemoryStore(self.clock)

    @rule(amounts=AMOUNTS, lease_s=st.sampled_from([5.0, 60.0, 5000.0]), is_dispatched=st.booleans())
    def hold(self, amounts, lease_s, is_dispatched):
        self.number += 1
        hold_id = f"h{self.number}"
        lines = [Line(meter, amount) for meter, amount in zip(METERS, amounts, strict=True)]
        if self.number % 3:
            lines = Asked(SAME, list(amounts))  # as the gateway gives them
        fits = self.model.hold(hold_id, amounts, lease_s, is_dispatched)
        verdict = self.store.hold(hold_id, lines, lease_s, is_dispatched=is_dispatched)
        assert isinstance(verdict, Granted) is fits
        if fits:
            self.given.append(hold_id)
            assert self.store.hold(hold_id, lines, lease_s) == verdict, "the same id takes once"

    @precondition(lambda self: self.model.live)
    @rule(data=st.data(), more=st.tuples(st.integers(-50, 300), st.integers(-50, 300), st.integers(0, 1)))
    def extend(self, data, more):
        self.model.end_leases()
        if not self.model.live:
            return
        hold_id = data.draw(st.sampled_from(sorted(self.model.live)))
        had = self.model.live[hold_id].amounts
        more = [max(amount, -before) for amount, before in zip(more, had, strict=True)]
        assert isinstance(self.store.extend(hold_id, more), Granted) is self.model.extend(hold_id, more)

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def dispatched(self, data):
        self.model.end_leases()
        if self.model.live:
            hold_id = data.draw(st.sampled_from(sorted(self.model.live)))
            self.store.dispatched(hold_id)
            self.model.dispatched(hold_id)

    @precondition(lambda self: self.given)
    @rule(data=st.data(), share=st.integers(0, 4))
    def settle(self, data, share):
        self.model.end_leases()
        hold_id = data.draw(st.sampled_from(self.given))
        hold = self.model.live.get(hold_id) or self.model.late.get(hold_id)
        used = [amount * share // 4 for amount in hold.amounts] if hold else [1, 1, 1]
        for _ in range(2):
            self.store.settle(Settlement(hold_id, used, [entry(hold_id)]))
        self.model.settle(hold_id, used)

    @precondition(lambda self: self.model.live)
    @rule(data=st.data(), lease_s=st.sampled_from([5.0, 300.0]))
    def renew(self, data, lease_s):
        self.model.end_leases()
        if self.model.live:
            hold_id = data.draw(st.sampled_from(sorted(self.model.live)))
            self.store.renew([hold_id, "unknown"], lease_s)
            self.model.live[hold_id].until_s = self.model.now_s + lease_s

    @rule(seconds=st.sampled_from([0.5, 7.0, 61.0, 1000.0, 50_000.0]))
    def pass_time(self, seconds):
        self.clock.now_s += seconds
        self.model.now_s += seconds
        self.model.end_leases()

    @rule(at=st.integers(0, 1), amount=st.integers(-100, 300))
    def raise_limit(self, at, amount):
        self.store.raise_limit(METERS[at], amount)
        self.model.raise_limit(METERS[at], amount)

    @rule(at=st.integers(0, 1))
    def reset(self, at):
        self.model.end_leases()
        self.store.balances(METERS)
        self.store.reset(METERS[at])
        self.model.reset(METERS[at])

    @invariant()
    def the_balances_agree(self):
        for meter, balance in zip(METERS, self.store.balances(METERS), strict=True):
            expected = (self.model.limit(meter), self.model.spent(meter), self.model.held(meter))
            assert (balance.limit, balance.spent, balance.held) == expected, meter.id

    @invariant()
    def the_holds_agree(self):
        known = {**self.model.live, **self.model.left}
        assert {hold.id: dict(hold.amounts) for hold in self.store.open_holds()} == {
            hold_id: {meter.id: amount for meter, amount in zip(METERS, hold.amounts, strict=True)}
            for hold_id, hold in known.items()
        }


class SqliteMachine(MemoryMachine):
    """The same with a process that ends, in peace or not, and a writer that comes at any time."""

    def opened(self):
        if not hasattr(self, "folder"):
            self.folder = tempfile.TemporaryDirectory(dir=_memory_folder())
        return SqliteStore(Path(self.folder.name), self.clock, segment_bytes=2000, has_thread=False)

    @rule()
    def write_down(self):
        self.store.write_down()
        self.store.remove_applied()

    @rule()
    def crash(self):
        abandon(self.store)
        self.restart()

    @rule()
    def close_and_open(self):
        asyncio.run(self.store.close())
        self.restart()

    def restart(self):
        self.given = []
        self.model.restart()
        self.store = self.opened()

    def teardown(self):
        asyncio.run(self.store.close())
        written = [row["id"] for row in Ledger(Path(self.folder.name)).stream(0, 1e12) if not row["is_flagged"]]
        assert sorted(written) == sorted(self.model.entries)
        self.folder.cleanup()


def _memory_folder():
    shared = Path("/dev/shm")
    return shared if shared.is_dir() else None


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
