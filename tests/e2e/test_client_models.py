"""Every client can list the models and look one up, with slashes in names as well."""

import pytest

from tests.e2e.setup import KEY, SLASHED

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize


@only("target", ["openai"], indirect=True)
def test_list(ask):
    page = ask("models")
    assert {"chat-openai", "chat-anthropic", "both", SLASHED} <= set(page["ids"])
    assert len(page["ids"]) == len(set(page["ids"]))
    assert (page["object"], page["objects"]) == ("list", ["model"])


@only("target", ["openai"], indirect=True)
def test_a_key_sees_what_it_may_use(ask):
    assert ask("models", job={"api_key": f"{KEY}-narrow"})["ids"] == ["chat-openai"]


@only("target", ["openai"], indirect=True)
@only("name", ["chat-openai", SLASHED])
def test_retrieve(ask, name):
    found = ask("model", job={"id": name})
    assert (found["id"], found["object"], found["has_owner"]) == (name, "model", True)
    assert isinstance(found["created"], int)


@only("target", ["openai"], indirect=True)
def test_retrieve_what_is_not_there(ask):
    raised = ask("model", job={"id": "chat-opena"})["raised"]
    assert (raised["status"], raised["code"]) == (404, "model_not_found")


@only("target", ["openai"], indirect=True)
@only("op", ["create", "stream"])
def test_a_name_with_slashes_is_answered(ask, upstream, op):
    assert ask(op, "hello", model=SLASHED)["text"] == "You said: hello"
    assert upstream.last.model == "up-slashed"


@only("target", ["openai"], indirect=True)
def test_provider_and_model_in_one_name(ask, upstream):
    assert ask("create", "hello", model="oa/some/new-model")["text"] == "You said: hello"
    assert upstream.last.model == "some/new-model"
