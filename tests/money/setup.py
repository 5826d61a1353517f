"""The gateway of these tests, and what its books say: balances, holds, and the ledger beside the provider's bill."""

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from gateway.cli.main import signalbox
from policies.stores.entries import Ledger
from tests.e2e.setup import UPSTREAM_SECRET, key_row
from tests.fakes.gateway import Gateway
from tests.fakes.upstream import FakeUpstream
from tests.money.provider import PRICE, Charge

MODELS = ("plain", "broken", "again", "slow", "quick", "silent", "cut-here", "cut-there")
_PATIENCE_S = 20.0
PARTIAL_ERROR = 0.15


def secret(name: str) -> str:
    """The secret of a key."""
    return f"sk-{name}-0123456789"


def money_config(
    upstream: FakeUpstream, budgets: dict[str, Any], keys: dict[str, dict[str, Any]], **sections: Any
) -> dict[str, Any]:
    """The provider's models with its prices. Breakers stay closed: what fails is to be called and paid for."""
    provider = {"kind": "openai", "api_key": UPSTREAM_SECRET, "base_url": f"{upstream.base_url}/v1"}
    return {
        "providers": {"up": provider, "tardy": provider | {"timeouts": {"ttft_s": 1}}},
        "models": {
            name: {
                "deployments": [{"provider": "tardy" if name == "slow" else "up", "model": f"up-{name}"}],
                "price": PRICE,
            }
            for name in MODELS
        },
        "routes": {
            "falling": {"strategy": "ordered", "pool": ["broken", "plain"]},
            "hedged": {"strategy": "ordered", "pool": ["slow", "quick"]},
        },
        "budgets": budgets,
        "keys": [key_row(name, secret(name), **more) for name, more in keys.items()],
        "policies": {
            "timeouts": {"connect_s": 10, "ttft_s": 10, "idle_s": 10, "total_s": 30},
            "retry": {"max_attempts": 3, "backoff_base_s": 0.01, "budget_ratio": 1},
            "breaker": {"failures": 100_000, "error_rate": 1},
            "hedge": {"enabled": True, "max_extra_ratio": 1},
        },
    } | sections


def balance(gateway: Gateway, name: str) -> dict[str, int]:
    """A budget's row by the admin API, in nano-dollars."""
    answer = gateway.admin(f"budgets/{name}")
    assert answer.status == 200, answer.body
    return {
        field: int(Decimal(answer.json[f"{field}_usd"]) * 1_000_000_000)
        for field in ("limit", "spent", "held", "left", "raised")
    }


def wait_no_holds(gateway: Gateway, timeout_s: float = _PATIENCE_S) -> None:
    """Every request is over, and so it holds nothing any more."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = gateway.admin("holds")
        if answer.status == 200 and not answer.json["data"]:
            return
        assert time.monotonic() < deadline, f"still held after {timeout_s} s: {answer.body!r}"
        time.sleep(0.05)


def wait_entries(folder: Path, key: str, spent_nusd: int) -> list[dict[str, Any]]:
    """The ledger's lines of a key, as soon as they add up to so much; they are written beside the requests."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        rows = [row for row in Ledger(folder).stream(0, 4e9) if row["key"] == key]
        if sum(row["cost_nusd"] or 0 for row in rows) == spent_nusd:
            return rows
        found = sum(row["cost_nusd"] or 0 for row in rows)
        assert time.monotonic() < deadline, f"the ledger has {found} of {spent_nusd} n$, in {len(rows)} lines"
        time.sleep(0.1)


def printed_entries(folder: Path, key: str) -> list[dict[str, Any]]:
    """The same by the command."""
    command = ["spend", "--entries", "--format", "jsonl", "--state-dir", str(folder)]
    shown = CliRunner().invoke(signalbox, command, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    return [row for row in map(json.loads, shown.stdout.splitlines()) if row["key"] == key]


def check_bill(rows: Sequence[dict[str, Any]], charges: Sequence[Charge]) -> tuple[int, int, int]:
    """Line by line: exact where an answer was complete, within 15 % where not. Returns the bill, the part of it for
    answers that were cut, and what the ledger has for these.
    """
    ours: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    theirs: dict[tuple[str, str], list[Charge]] = defaultdict(list)
    for row in rows:
        ours[row["request_id"], row["model"]].append(row)
    for charge in charges:
        theirs[charge.word, charge.model].append(charge)
    assert ours.keys() == theirs.keys(), _difference(ours, theirs)
    cut_bill = cut_ledger = 0
    for about, billed in theirs.items():
        bill = sum(charge.nusd for charge in billed)
        ledger = sum(row["cost_nusd"] for row in ours[about])
        assert len(billed) == len(ours[about]), (ours[about], billed)
        if all(charge.is_complete for charge in billed):
            assert ledger == bill, (ours[about], billed)
            assert {(row["ending"], bool(row["is_estimated"])) for row in ours[about]} == {("ok", False)}, ours[about]
        else:
            assert abs(ledger - bill) <= PARTIAL_ERROR * bill, (ours[about], billed)
            cut_bill, cut_ledger = cut_bill + bill, cut_ledger + ledger
    return sum(charge.nusd for charge in charges), cut_bill, cut_ledger


def check_sums(gateway: Gateway, charges: Sequence[Charge], spent_nusd: int) -> None:
    """The same where the ledger is in memory and tells sums only: by model, which says what became of the answer."""
    answer = gateway.admin("spend?by=model&where=key%3Dpayer")
    ours = {row["by"]["model"]: int(Decimal(row["cost_usd"]) * 1_000_000_000) for row in answer.json["data"]}
    assert sum(ours.values()) == spent_nusd
    theirs: dict[str, int] = defaultdict(int)
    for charge in charges:
        theirs[charge.model] += charge.nusd
    assert ours.keys() == theirs.keys()
    for model, bill in theirs.items():
        is_complete = all(charge.is_complete for charge in charges if charge.model == model)
        assert abs(ours[model] - bill) <= (0 if is_complete else PARTIAL_ERROR * bill), (model, ours, theirs)


def _difference(ours: dict[Any, Any], theirs: dict[Any, Any]) -> str:
    only_ours = [ours[about] for about in ours.keys() - theirs.keys()]
    only_theirs = [theirs[about] for about in theirs.keys() - ours.keys()]
    return f"only in the ledger: {only_ours}; only on the bill: {only_theirs}"
