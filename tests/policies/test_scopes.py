"""Which budgets and limits a request pays from."""

import hashlib

from config.schema import Config
from policies.scopes import ScopeBook

MODELS = {
    "small": {"deployments": [{"provider": "v", "model": "s-1"}], "budget": "models", "limits": "few"},
    "large": {"deployments": [{"provider": "v", "model": "l-1"}]},
}


def book(**sections):
    return ScopeBook(
        Config.model_validate(
            {
                "providers": {"v": {"kind": "mock"}},
                "models": MODELS,
                "routes": {"auto": {"pool": ["small", "large"], "budget": "route"}},
                "budgets": {
                    "company": {"limit_usd": 100},
                    "models": {"limit_usd": 1, "parent": "company"},
                    "route": {"limit_usd": 2, "each_key": True},
                    "tagged": {"limit_usd": 3, "each_key": True, "tags": ["x"]},
                    "own": {"limit_usd": 4, "each_key": True},
                    "own/ada": {"limit_usd": 5},
                },
                "limits": {"few": {"requests_per_minute": 2}},
                "teams": {"crew": {"budget": "company", "parent": "house"}, "house": {"limits": "few", "tags": "x"}},
            }
            | sections
        )
    )


def key_of(name="ada", **more):
    found = Config.model_validate(
        {"keys": [{"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **more}]}
    )
    return found.keys[0]


def ids(scopes):
    return [scope.meter.id for scope in scopes]


def test_a_key_pays_from_its_chain_its_teams_and_its_tags():
    found = book().of_key(key_of(budget="models", team="crew"))
    assert ids(found) == [
        "budget/models/month",
        "budget/company/month",
        "limit/team/house/requests/minute",
        "budget/tagged ada/month",
    ]


def test_a_request_pays_for_its_route_its_models_and_its_tags():
    found = book().of_request((), "ada", ("auto",), ("small", "large"), ("x",))
    assert ids(found) == [
        "budget/route ada/month",
        "budget/models/month",
        "budget/company/month",
        "limit/model/small/requests/minute",
        "budget/tagged ada/month",
    ]
    assert {scope.meter.id: scope.models for scope in found}["budget/models/month"] == {"small", "v/s-1"}


def test_a_deployment_that_is_named_directly_pays_as_its_model():
    found = book().of_request((), "ada", (), ("v/s-1",), ())
    assert ids(found) == ["budget/models/month", "budget/company/month", "limit/model/small/requests/minute"]
    assert ids(book().of_request((), "ada", (), ("v/l-1",), ())) == []


def test_keys_have_their_own_and_no_name_makes_two_budgets_one():
    ada, bob = (book().of_key(key_of(name, budget="own")) for name in ("ada", "bob"))
    other = book().of_key(key_of("eve", budget="own/ada"))
    assert len({*ids(ada), *ids(bob), *ids(other)}) == 3
    assert [scope.key for scope in (*ada, *bob, *other)] == ["ada", "bob", None]


def test_a_meter_of_two_models_is_one_line():
    models = {name: row | {"budget": "models"} for name, row in MODELS.items()}
    found = book(models=models).of_request((), "ada", (), ("small", "large"), ())
    (scope,) = [scope for scope in found if scope.name == "models"]
    assert scope.models == {"small", "v/s-1", "large", "v/l-1"}
    whole = book(models=models).of_request(book().of_key(key_of(budget="models")), "ada", (), ("small",), ())
    assert next(scope for scope in whole if scope.name == "models").models is None
