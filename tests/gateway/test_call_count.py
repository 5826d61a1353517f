"""What one request may cost in Python: a bound on our own function calls, a cost that no machine changes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
_REQUESTS = 200


def _profile(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """Calls per request of every function, seen while the real server answered over real sockets."""
    output = tmp_path / "calls.json"
    command = [sys.executable, "-m", "benchmarks.profile", "--requests", str(_REQUESTS), "--json", str(output)]
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def _explain(found: dict[str, Any]) -> str:
    rows = sorted((row for row in found["rows"] if row["is_ours"]), key=lambda row: -row["calls"])
    return "\n".join(f"{row['calls']:6.2f} {row['where']}" for row in rows[:60])


# A coroutine that is resumed counts once more, because it costs once more. `auto` classifies: one call for each of the
# signals, which are a file each, and a dozen for the conversation it belongs to.
@pytest.mark.parametrize(("model", "limit"), [("gpt-5-mini", 118), ("auto", 151), ("normalised", 120)])
def test_plain_chat_stays_below_its_bound_of_own_calls(tmp_path: Path, model: str, limit: int) -> None:
    found = _profile(tmp_path, "--model", model)
    assert found["own_calls"] <= limit, _explain(found)
    assert found["own_calls"] > 10, "the profiler saw next to nothing"
    # Rings of objects: each costs its share of a collection, and the next request fresh memory instead of warm. What is
    # left of the sixteen connections counts here as well, spread over the requests.
    assert found["left_over"] < 6, f"{found['left_over']} objects per request wait for the garbage collector"


# A body that came before, to the byte: its key is known, and of what follows there is little but its line of the log.
def test_a_kept_answer_stays_below_its_bound_of_own_calls(tmp_path: Path) -> None:
    found = _profile(tmp_path, "--cached")
    assert found["own_calls"] <= 48, _explain(found)
    seen = {row["where"].rpartition(" ")[2] for row in found["rows"] if row["is_ours"] and row["calls"] > 0.9}
    assert "whole" in seen, "these were no hits"


# The ledger alone: one entry, one record of the journal. Budgets: the worst case of the body (18 calls), one check and
# one settlement for three budgets and two rolling limits together (10), the hold and its end in the journal (15), what
# the head says of limits and the rest of the desk (20).
@pytest.mark.parametrize(("money", "limit"), [("ledger", 132), ("budgets", 185)])
def test_money_stays_below_its_bound_of_own_calls(tmp_path: Path, money: str, limit: int) -> None:
    found = _profile(tmp_path, "--money", money)
    assert found["own_calls"] <= limit, _explain(found)
    seen = {row["where"].rpartition(" ")[2] for row in found["rows"] if row["is_ours"] and row["calls"] > 0.5}
    assert {"entries_of", "append"} <= seen, "nothing was written down"
    assert (money == "budgets") == ("bound_prompt" in seen)
