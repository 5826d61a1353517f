"""What operators do to budgets over HTTP: which amounts, names, states and times are taken."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.setup import key_row
from tests.fakes.gateway import ADMIN_KEY, Gateway
from tests.fakes.http import Answer, send

pytestmark = pytest.mark.e2e
_WINDOWS = {"day": "day", "total": "total", "rolling": "rolling 1h"}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    price = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
    config = {
        "providers": {"sim": {"kind": "mock", "pace": False}},
        "models": {"small": {"deployments": [{"provider": "sim", "model": "small"}], "price": price}},
        "budgets": {
            f"{name}/{n}": {"limit_usd": 5, "window": window} for name, window in _WINDOWS.items() for n in range(20)
        },
        "keys": [key_row(name, f"{name}-secret", budget=f"{name}/19") for name in _WINDOWS],
    }
    with Gateway(config, env={"SIGNALBOX_STATE_DIR": str(tmp_path_factory.mktemp("state"))}) as running:
        yield running


@pytest.fixture
def budget() -> str:
    """One that no other test has."""
    return f"day/{next(_numbers)}"


def change(gateway: Gateway, budget: str, verb: str, body: Any, etag: str = "*") -> Answer:
    headers = {"authorization": f"Bearer {ADMIN_KEY}", "if-match": etag}
    return send(f"{gateway.root_url}/admin/budgets/{budget}/{verb}", body, headers=headers)


def noted(gateway: Gateway) -> list[Any]:
    rows = gateway.admin("audit?limit=1").json["data"]
    return [(row["action"], row["outcome"], row.get("reason")) for row in rows]


@pytest.mark.parametrize(
    "amount", [1e10, -1e10, 9_007_199.3, 1e20, 1e300, 10**30, True, "10", 0, 1e-12, None], ids=repr
)
def test_amounts_that_cannot_be_counted_change_nothing(gateway: Gateway, budget: str, amount: Any) -> None:
    answer = change(gateway, budget, "raise", {"amount_usd": amount})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "invalid_parameter", "amount_usd")
    assert noted(gateway) == [("raise_budget", "refused", "invalid_parameter")]
    assert gateway.admin(f"budgets/{budget}").json["limit_usd"] == "5"


def test_raises_do_not_add_up_to_more_than_can_be_counted(gateway: Gateway, budget: str) -> None:
    assert change(gateway, budget, "raise", {"amount_usd": 9_000_000}).json["raised_usd"] == "9000000"
    answer = change(gateway, budget, "raise", {"amount_usd": 9_000_000})
    assert (answer.status, answer.error["param"]) == (400, "amount_usd")
    assert change(gateway, budget, "raise", {"amount_usd": -9_000_000}).json["limit_usd"] == "5"


def test_a_limit_below_zero_is_shown_as_it_is(gateway: Gateway, budget: str) -> None:
    answer = change(gateway, budget, "raise", {"amount_usd": -5.5})
    assert [answer.json[name] for name in ("limit_usd", "raised_usd", "left_usd")] == ["-0.5", "-5.5", "0"]


@pytest.mark.parametrize("slash", ["/", "%2F"])
def test_names_may_have_slashes(gateway: Gateway, budget: str, slash: str) -> None:
    name = budget.replace("/", slash)
    assert gateway.admin(f"budgets/{name}").json["name"] == budget
    assert change(gateway, name, "raise", {"amount_usd": 1}).json["limit_usd"] == "6"
    assert change(gateway, name, "reset", {}).json["name"] == budget


@pytest.mark.parametrize("window", _WINDOWS)
def test_if_match_means_the_limit_and_not_the_spending(gateway: Gateway, window: str) -> None:
    name = f"{window}/19"
    seen = gateway.admin(f"budgets/{name}").headers["etag"]
    call = gateway.chat("small", headers={"authorization": f"Bearer {window}-secret"}, max_tokens=20)
    assert call.status == 200
    first = change(gateway, name, "raise", {"amount_usd": 1}, seen)
    assert (first.status, first.json["name"], first.json["limit_usd"]) == (200, name, "6"), "traffic is no change"
    assert change(gateway, name, "raise", {"amount_usd": 1}, seen).status == 412, "the raise was one"
    assert change(gateway, name, "raise", {"amount_usd": 1}, first.headers["etag"]).json["limit_usd"] == "7"


@pytest.mark.parametrize(
    "query",
    [
        "since=0001-01-01T00:00:00%2B23:59",
        "until=9999-12-31T23:59:59-23:59",
        "since=0001-01-01",
        "until=9999-12-31T23:59:59.999999",
        "until=10000-01-01",
        "since=true",
    ],
)
def test_times_at_the_ends_of_the_calendar(gateway: Gateway, query: str) -> None:
    answer = gateway.admin(f"spend?{query}")
    assert answer.status in (200, 400), answer.body
    if answer.status == 400:
        assert answer.error["code"] == "invalid_parameter"
