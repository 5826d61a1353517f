"""The ledger of a real gateway: what the admin API and `signalbox spend` say was spent, raised and reset."""

import csv
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import signalbox
from tests.e2e.setup import key_row
from tests.e2e.test_budgets import COST_NUSD, ask, paid_config, secret
from tests.fakes.gateway import ADMIN_KEY, Gateway
from tests.fakes.http import send
from tests.fakes.script import error

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("spend")]  # one gateway, and what reads its tables


def config_of(upstream: Any) -> dict[str, Any]:
    keys = {"solo": {"budget": "day"}, "member": {"team": "crew"}, "own": {"budget": "own"}}
    sections = {
        "teams": {"crew": {"budget": "day", "tags": ["floor=2"]}},
        "budgets": {
            "day": {"limit_usd": 1, "window": "day"},
            "own": {"limit_usd": 0.001, "window": "day", "each_key": True},
        },
        "limits": {"many": {"requests_per_minute": 100}},
        "admin_keys": [
            {"name": "looker", "sha256": key_row("x", "looker-secret")["sha256"], "role": "viewer"},
        ],
    }
    config = paid_config(upstream, keys, **sections)
    config["models"]["second"]["limits"] = "many"
    return config


@pytest.fixture(scope="module")
def spent(_upstream_process) -> Iterator[Gateway]:
    """A gateway that has served three calls of two keys, one of them in a team and with a fallback."""
    _upstream_process.reset()  # what the test before had it say
    with Gateway(config_of(_upstream_process)) as gateway:
        assert ask(gateway, "solo").status == 200
        assert ask(gateway, "member", stream=True).status == 200
        _upstream_process.always("up-first", error(500, "broken"))
        assert ask(gateway, "member", "both").headers["x-signalbox-model"] == "oa/up-second"
        _upstream_process.reset()
        yield gateway


def spend(gateway: Gateway, *arguments: str) -> Result:
    return CliRunner().invoke(signalbox, ["spend", "--state-dir", str(gateway.folder / "state"), *arguments])


def wait_entries(gateway: Gateway, count: int) -> list[dict[str, Any]]:
    """The ledger is written beside the requests, within the second."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        result = spend(gateway, "--entries", "--format", "jsonl")
        rows = [json.loads(line) for line in result.stdout.splitlines()]
        if len(rows) >= count:
            return rows
        time.sleep(0.05)
    raise AssertionError(result)


def test_every_call_has_its_line(spent):
    rows = wait_entries(spent, 3)
    assert [row["key"] for row in rows] == ["solo", "member", "member"]
    assert {row["cost_nusd"] for row in rows} == {COST_NUSD}
    assert rows[2]["team"] == "crew"
    assert rows[2]["tags"] == ["floor=2"]
    assert (rows[2]["route"], rows[2]["model"], rows[2]["purpose"]) == ("both", "second", "answer")
    assert (rows[0]["input"], rows[0]["cache_read"], rows[0]["output"], rows[0]["reasoning"]) == (12, 8, 8, 2)


def test_sums_by_the_names_that_are_asked_for(spent):
    wait_entries(spent, 3)
    table = spend(spent, "--by", "key").stdout.splitlines()
    assert table[0].split() == ["key", "calls", "tokens", "cost_usd", "reported_usd", "estimated_calls",
                                "flagged_calls", "unpriced_calls", "kept_calls", "saved_usd"]  # fmt: skip
    assert table[1].split()[:4] == ["member", "2", "60", "0.00006"]
    found = list(csv.DictReader(io.StringIO(spend(spent, "--by", "team,model", "--format", "csv").stdout)))
    assert {(row["team"], row["model"], row["calls"]) for row in found} == {
        ("", "chat-openai", "1"), ("crew", "chat-openai", "1"), ("crew", "second", "1")
    }  # fmt: skip
    only = json.loads(spend(spent, "--by", "model", "--where", "key=solo", "--format", "json").stdout)
    assert [row["model"] for row in only] == ["chat-openai"]


def test_a_table_for_other_programs(spent, tmp_path):
    wait_entries(spent, 3)
    file = tmp_path / "spend.parquet"
    assert spend(spent, "--entries", "--format", "parquet", "--out", str(file)).exit_code == 0
    assert pyarrow.parquet.read_table(file).column("cost_nusd").to_pylist() == [COST_NUSD] * 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--by", "colour"], "no 'colour' to add up"),
        (["--where", "key"], "NAME=VALUE"),
        (["--since", "yesterday"], "is no time"),
        (["--format", "parquet"], "--out"),
        (["--entries", "--by", "key"], "leave out --by"),
    ],
)
def test_wrong_use_is_explained(spent, arguments, says):
    result = spend(spent, *arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def test_budgets_are_shown(spent):
    budget = spent.admin("budgets/day").json
    assert (budget["limit_usd"], budget["held_usd"]) == ("1", "0")
    assert float(budget["spent_usd"]) == pytest.approx(3 * COST_NUSD / 1e9)
    listed = spent.admin("budgets?limit=1").json
    assert listed["has_more"] is True
    following = spent.admin(f"budgets?limit=100&after={listed['next']}").json
    names = [(row["name"], row["key"]) for row in [*listed["data"], *following["data"]]]
    assert sorted(names, key=str) == [("day", None), ("own", "own")]


def test_budgets_are_raised_and_reset(_upstream_process):
    _upstream_process.reset()
    with Gateway(config_of(_upstream_process)) as gateway:
        before = gateway.admin("budgets/own?key=own")
        while ask(gateway, "own").status == 200:
            pass
        seen = {"if-match": before.headers["etag"], "authorization": f"Bearer {ADMIN_KEY}"}
        body = {"amount_usd": 0.01, "key": "own", "reason": "a good cause"}
        raised = send(f"{gateway.root_url}/admin/budgets/own/raise", body, headers=seen)
        assert (raised.status, raised.json["raised_usd"]) == (200, "0.01")
        assert send(f"{gateway.root_url}/admin/budgets/own/raise", body, headers=seen).status == 412
        assert ask(gateway, "own").status == 200
        assert gateway.admin("budgets/own/reset", {"key": "own"}).json["spent_usd"] == "0"
        assert "a good cause" in json.dumps(gateway.admin("audit").json["data"])


def test_a_viewer_looks_and_does_not_touch(spent):
    headers = {"authorization": "Bearer looker-secret"}
    assert send(f"{spent.root_url}/admin/budgets", headers=headers).status == 200
    assert send(f"{spent.root_url}/admin/budgets/day/reset", {}, headers=headers).status == 403
    assert send(f"{spent.root_url}/admin/budgets/nothing", headers=headers).status == 404


def test_limits_holds_and_spend_over_http(spent):
    wait_entries(spent, 3)
    limits = spent.admin("limits").json["data"]
    assert [(row["unit"], row["limit"], row["used"]) for row in limits] == [("requests", 100, 1)]
    assert spent.admin("holds").json["data"] == []
    data = spent.admin("spend?by=team&where=key%3Dmember").json["data"]
    assert [(row["by"], row["calls"], row["cost_usd"]) for row in data] == [({"team": "crew"}, 2, "0.00006")]
    assert spent.admin("spend?by=nothing").status == 400
    assert spent.admin("spend?since=never").status == 400
    assert secret("solo") not in spent.output()
