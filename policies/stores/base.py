"""What a store of spending and limits does: hold, settle, release, atomically over every meter of a request.

A meter counts one thing under one limit: nano-dollars of a budget in a month, requests of a key in a minute, requests
of a team at the same time. A hold takes an upper bound from all meters of a request at once or from none. It is settled
once, by its id, to what was really used. It is a lease: what a crash leaves behind is released when the lease ends, or
charged in full where the call had been sent.
"""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol

from policies.ledger import Entry
from policies.windows import NoWindow, Window


class Unit(StrEnum):
    """What a meter counts."""

    NUSD = "nusd"
    REQUESTS = "requests"
    TOKENS = "tokens"  # input and output together
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    SLOTS = "slots"  # requests at the same time


@dataclass(slots=True, frozen=True)
class Meter:
    """One limit. `id` is stable across reloads and restarts: what was used belongs to it, whatever its limit is now.

    `carry_max` is how much of what the window before left over is added to the limit (calendar windows only).
    `on_error`: what happens while a shared store cannot be asked: nothing is admitted, or each process counts alone.
    `is_returned`: what is taken comes back when the request ends.
    """

    id: str
    unit: Unit
    limit: int
    window: Window
    carry_max: int = 0
    on_error: Literal["deny", "local"] = "deny"
    is_returned: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_returned", isinstance(self.window, NoWindow))


class Line(NamedTuple):
    """One meter of a hold, and the upper bound taken from it (units of the meter)."""

    meter: Meter
    amount: int


# Plain pairs will do: making one of names takes as long as checking it.
Lines = Sequence[tuple[Meter, int]]


@dataclass(slots=True)  # not frozen, as one is made for every request; nobody changes one
class Granted:
    """All of it is held. `left` is what remains of each limit now, in the order of the lines."""

    left: tuple[int, ...] = ()


@dataclass(slots=True, frozen=True)
class Denied:
    """Nothing is held. `meter` is the first whose limit (with carry-over and raises) does not suffice.

    `reset_s` is when its window ends (Unix seconds; inf: never); `retry_s` in how many seconds so much may be free,
    None where that is never or nobody knows.
    """

    meter: Meter
    limit: int
    spent: int
    held: int
    asked: int
    reset_s: float
    retry_s: float | None = None


@dataclass(slots=True, frozen=True)
class Unavailable:
    """The store could not be asked, so nobody knows; `reason` is for the operator."""

    reason: str


Verdict = Granted | Denied | Unavailable


@dataclass(slots=True, frozen=True)
class Balance:
    """The state of a meter in its present window. `limit` includes `raised` and `carried`."""

    meter_id: str
    limit: int
    spent: int
    held: int
    start_s: float
    end_s: float
    raised: int = 0
    carried: int = 0

    @property
    def left(self) -> int:
        """What may still be taken; never less than 0."""
        return max(0, self.limit - self.spent - self.held)


@dataclass(slots=True, frozen=True)
class OpenHold:
    """A hold that was not settled yet, for operators: amounts by meter id, and when its lease ends (Unix seconds)."""

    id: str
    amounts: Mapping[str, int]
    lease_until_s: float
    is_dispatched: bool


@dataclass(slots=True)  # the same
class Settlement:
    """What became of a hold: what was really used, for every meter in the order of its lines; `entries` of the ledger.

    A request that held nothing has entries alone, and an id that no hold has.
    """

    id: str
    amounts: Sequence[int] = ()
    entries: Sequence[Entry] = ()


@dataclass(slots=True)
class Reports:
    """What a store tells of what it found; read and emptied by whoever writes metrics and logs."""

    overruns: list[tuple[str, str, int]] = field(default_factory=list)  # (hold, meter, used above what was held)
    expired: list[OpenHold] = field(default_factory=list)  # leases that ended: released, or charged where dispatched


class Store(Protocol):
    """Where holds are kept. `hold` and `extend` of a store within the process answer at once, others with an awaitable.

    Every method takes time from the store, never from its caller. None of them raises for a store that is gone: they
    answer Unavailable, or finish later from a journal.
    """

    is_remote: bool  # a hold is a round trip: it is taken as dispatched, to save a second one
    reports: Reports

    def hold(
        self, hold_id: str, lines: Lines, lease_s: float, *, is_dispatched: bool = False
    ) -> Verdict | Awaitable[Verdict]:
        """Take all amounts or none. The same id again gives the same answer and takes nothing."""
        ...

    def extend(self, hold_id: str, amounts: Sequence[int]) -> Verdict | Awaitable[Verdict]:
        """Take so much more for a hold, by meter in the order of its lines: all or nothing."""
        ...

    def dispatched(self, hold_id: str) -> None:
        """The call is about to be sent: from now on the provider may charge for it."""
        ...

    def settle(self, settlement: Settlement) -> None:
        """Charge what was used in the window in which it was held, and free the rest. Once per id; never blocks."""
        ...

    def renew(self, hold_ids: Sequence[str], lease_s: float) -> None:
        """These requests are still running."""
        ...

    def balances(self, meters: Sequence[Meter]) -> Sequence[Balance] | Awaitable[Sequence[Balance]]:
        """The state of these meters, in their order. Raises StoreError where the store cannot be asked."""
        ...

    def open_holds(self) -> Sequence[OpenHold] | Awaitable[Sequence[OpenHold]]:
        """Every hold that is not settled. Raises StoreError where the store cannot be asked."""
        ...

    def raise_limit(self, meter: Meter, amount: int) -> Balance | Awaitable[Balance]:
        """Add to the limit (less than 0: take from it) for the present window. Raises StoreError."""
        ...

    def reset(self, meter: Meter) -> Balance | Awaitable[Balance]:
        """Nothing was spent in the present window; what is held stays held. Raises StoreError."""
        ...

    async def close(self) -> None:
        """Hand over what is still under way."""
        ...


class StoreError(RuntimeError):
    """The store cannot be asked; the message is for the operator."""
