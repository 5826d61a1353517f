"""The accounts that one set of meters has at this moment, worked out once for all holds of these meters."""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

from policies.stores.accounts import CalendarAccount, RollingAccount
from policies.stores.base import Meter


class Asked(Sequence[tuple[Meter, int]]):
    """Lines of a hold whose meters are the same object for every request: a store in this process knows them again.

    `amounts` are in the order of `meters`, and nobody changes either.
    """

    __slots__ = ("amounts", "meters")

    def __init__(self, meters: tuple[Meter, ...], amounts: Sequence[int]) -> None:
        self.meters = meters
        self.amounts = amounts

    def __len__(self) -> int:
        return len(self.meters)

    def __iter__(self) -> Iterator[tuple[Meter, int]]:
        return zip(self.meters, self.amounts, strict=True)

    def __getitem__(self, at: Any) -> Any:
        return list(self)[at]


class Group:
    """Meters with their accounts, the limits that hold now, and where is charged what is held now.

    It holds from `from_s` to before `until_s`, and until a window is opened or a limit raised. What is held keeps its
    group: nothing of it is changed.
    """

    __slots__ = (
        "accounts",
        "formats",
        "from_s",
        "has_record",
        "has_returned",
        "limits",
        "marks",
        "meters",
        "until_s",
    )

    def __init__(self, meters: Sequence[Meter], accounts: Sequence[CalendarAccount | RollingAccount]) -> None:
        self.meters = meters
        self.accounts = accounts
        self.limits = [one.limit(meter) for meter, one in zip(meters, accounts, strict=True)]
        self.marks = [one.mark for one in accounts]
        self.from_s = max((one.from_s for one in accounts), default=-inf)
        self.until_s = min((one.until_s for one in accounts), default=inf)
        self.has_returned = any(meter.is_returned for meter in meters)
        self.has_record = False
        self.formats: tuple[bytes, bytes] | None = None  # of the records about it, for stores that write some
