"""What budgets and limits refuse, and what stores of spending cost: tables made from the code and from benchmarks."""

import inspect
import json
from typing import Any

from gateway.wire import refusals_money
from policies.scopes import Scope
from policies.stores.base import Denied, Meter, Unit
from policies.windows import RollingWindow
from tests.docs.pages import ROOT
from tests.docs.tables import table

_STORES = ROOT / "benchmarks/results/money_stores.json"
_OVERSPEND = ROOT / "benchmarks/results/money_overspend.json"
_METER = Meter("limit/key/x/requests/minute", Unit.REQUESTS, 2, RollingWindow(60.0))
_SCOPE = Scope("x", _METER)
_DENIED = Denied(_METER, limit=2, spent=1, held=1, asked=1, reset_s=60.0, retry_s=30.0)


def refusals() -> str:
    """Every refusal where money or rates are at stake, from the functions that make it and what they say of it."""
    examples: dict[Any, Any] = {Scope: _SCOPE, Denied: _DENIED, int: 2, float: 0.0, str: "x"}
    rows = {}
    for name, make in inspect.getmembers(refusals_money, inspect.isfunction):
        if make.__module__ != refusals_money.__name__ or name.startswith("_"):
            continue
        error = make(**{key: examples[one.annotation] for key, one in inspect.signature(make).parameters.items()})
        about = (inspect.getdoc(make) or "").partition(": ")[2].partition(". ")[0].strip().removesuffix(".")
        advice = dict(error.refusal.headers)[b"x-should-retry"].decode()
        status, code = str(error.refusal.status), error.refusal.error["code"]
        rows[error.reason] = [f"`{error.reason}`", f"`{code}`", status, f"`{advice}`", about[:1].upper() + about[1:]]
    return table(("reason", "`code`", "status", "`x-should-retry`", ""), (rows[key] for key in sorted(rows)))


def stores() -> str:
    """CPU time of a hold with its settlement, by store."""
    found = json.loads(_STORES.read_text())
    rows = [
        [one["store"], f"{one['hold_settle_us']:.0f}", f"{one['with_entry_us']:.0f}"]
        for one in found["stores"]
    ]  # fmt: skip
    machine = found["machine"]
    head = ("store", "hold and settlement, CPU µs", "with an entry of the ledger, CPU µs")
    return (
        table(head, rows)
        + f"\nFive meters per request, {found['at_once']} requests under way, {machine['cores']} cores, "
        f"Python {machine['python']}, SQLite {machine['sqlite']}; the writer's thread is included.\n"
    )


def overspend() -> str:
    """How far a budget is overspent, by how it is checked."""
    found = json.loads(_OVERSPEND.read_text())
    rows = [
        [one["check"], f"{one['over_percent']:.1f} %", f"{one['spent_nusd'] / one['limit_nusd']:.1%}"]
        for one in found["runs"]
    ]  # fmt: skip
    return table(("protocol", "beyond the limit", "spent of the limit"), rows)


MEASURED = {"money-stores": stores, "money-overspend": overspend}
