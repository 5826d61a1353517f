"""What a journal says of holds: as its lines, and as the process that writes it keeps them until they are applied.

Nearly all records of a busy gateway are holds that begin and end under the same meters, so what does not change from
one to the next is made into JSON once for all of them.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from policies.stores.accounts import MOST
from policies.stores.groups import Group
from policies.stores.memory import Held

Record = dict[str, Any]
_STRICT = orjson.OPT_STRICT_INTEGER  # at most 53 bits
_NEW, _NOT_NEW = b',"new":1', b""


class Begun:
    """A hold whose call is about to be sent, or that has grown since (`is_new` is False), as it was then."""

    __slots__ = ("amounts", "held", "id", "is_new", "until_s")

    def __init__(self, hold_id: str, held: Held, *, is_new: bool) -> None:
        self.id = hold_id
        self.held = held
        self.amounts = held.amounts
        self.until_s = held.lease_until_s
        self.is_new = is_new

    def lines(self) -> list[tuple[Any, ...]]:
        """In JSON types: meter, unit, limit, whether it is returned, kind, mark, amount."""
        return hold_lines(self.held, self.amounts)

    def record(self) -> Record:
        record = {"k": "hold", "id": self.id, "until": self.until_s, "lines": self.lines()}
        return record | {"new": 1} if self.is_new else record

    def payload(self) -> bytes | None:
        """The JSON of the record; None where it has to be made of the record itself."""
        group, amounts = self.held.group, self.amounts
        formats = None if group is None else group.formats or _formats(group)
        if formats is None or max(amounts) > MOST or min(amounts) < -MOST:
            return None
        return formats[0] % (orjson.dumps(self.id), self.until_s, *amounts, _NEW if self.is_new else _NOT_NEW)


class Ended:
    """What a hold was settled to. `rows` are entries as tables have them; `void` is the id of one that was wrong."""

    __slots__ = ("charges", "held", "id", "rows", "void")

    def __init__(
        self, hold_id: str, held: Held, charges: Sequence[int], rows: Sequence[Sequence[Any]], void: str | None = None
    ) -> None:
        self.id = hold_id
        self.held = held
        self.charges = charges
        self.rows = rows
        self.void = void

    def record(self) -> Record:
        record = {"k": "end", "id": self.id, "charges": charge_lines(self.held, self.charges), "entries": self.rows}
        return record if self.void is None else record | {"void": self.void}

    def payload(self) -> bytes | None:
        """The same as that of a hold."""
        group, charges = self.held.group, self.charges
        formats = None if group is None else group.formats or _formats(group)
        if formats is None or self.void is not None or max(charges) > MOST or min(charges) < -MOST:
            return None
        try:
            rows = orjson.dumps(self.rows, option=_STRICT)
        except TypeError:
            return None
        return formats[1] % (orjson.dumps(self.id), *charges, rows)


def hold_lines(held: Held, amounts: Sequence[int]) -> list[tuple[Any, ...]]:
    """The lines of a hold, in JSON types: meter, unit, limit, whether it is returned, kind, mark, amount."""
    return [
        (meter.id, meter.unit, meter.limit, meter.is_returned, account.kind, mark, amount)
        for meter, account, mark, amount in zip(held.meters, held.accounts, held.marks, amounts, strict=True)
    ]


def charge_lines(held: Held, charges: Sequence[int]) -> list[tuple[Any, ...]]:
    """What was charged for a hold, in JSON types: meter, kind, mark, amount."""
    return [
        (meter.id, account.kind, mark, amount)
        for meter, account, mark, amount in zip(held.meters, held.accounts, held.marks, charges, strict=True)
        if amount
    ]


def _formats(group: Group) -> tuple[bytes, bytes] | None:
    """How records of this group are written; None for the first of them, as many groups have one request."""
    if not group.has_record or not group.meters:
        group.has_record = True
        return None
    try:
        group.formats = _made(group)
    except TypeError:  # a limit beyond what can be counted
        return None
    return group.formats


def _made(group: Group) -> tuple[bytes, bytes]:
    accounts = list(zip(group.meters, group.accounts, group.marks, strict=True))
    lines = [[m.id, m.unit, m.limit, m.is_returned, one.kind, mark] for m, one, mark in accounts]
    charges = [[meter.id, one.kind, mark] for meter, one, mark in accounts]
    return (
        b'{"k":"hold","id":%%b,"until":%%a,"lines":[%b]%%b}' % _open(lines),
        b'{"k":"end","id":%%b,"charges":[%b],"entries":%%b}' % _open(charges),
    )


def _open(lines: Sequence[Sequence[Any]]) -> bytes:
    """These lines, with a place for one more number in each."""
    texts = [orjson.dumps(line, option=_STRICT).replace(b"%", b"%%") for line in lines]
    return b",".join(b"%b,%%d]" % text[:-1] for text in texts)
