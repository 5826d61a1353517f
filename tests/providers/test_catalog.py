"""Rows of the catalog and what their flags do; kinds and how they are found."""

import json
import re
import subprocess
import sys
from dataclasses import fields

import pytest

from providers import openai_compatible, registry
from providers.base import Call, ErrorKind, ProviderError, ProviderOptions
from providers.catalog import Vendor, vendors
from tests.providers.openai_wire import TARGET, provider, request


def said(call: Call) -> dict[str, object]:
    body: dict[str, object] = json.loads(call.body)
    assert body.pop("model") == "up-model"
    return body


@pytest.mark.parametrize("vendor", vendors().values(), ids=lambda v: v.kind)
def test_every_row_is_complete_and_builds(vendor: Vendor) -> None:
    assert vendor.source.startswith("https://")
    assert vendor.base_url
    assert re.match(r"https://|http://127\.0\.0\.1:", vendor.base_url)
    assert vendor.is_keyless == vendor.base_url.startswith("http://127")
    assert set(vendor.operations) <= {"chat", "completions", "embeddings"}
    options = ProviderOptions(
        name="x", kind=vendor.kind, api_key=None if vendor.is_keyless else "k", extra={"account": "a"}
    )
    operation = "chat" if "chat" in vendor.operations else "embeddings"
    call = registry.build(options).call(request(operation), TARGET)
    assert "{" not in call.url
    assert said(call) == {}
    assert call.dropped == ()


def test_there_are_at_least_twenty_vendors_and_no_unknown_flag() -> None:
    assert len(vendors()) >= 20
    with pytest.raises(TypeError):
        Vendor(kind="x", has_typo=True)  # type: ignore[call-arg]
    assert {field.name for field in fields(Vendor)} >= {"drops", "renames", "tool_id_pattern"}


def test_a_key_or_an_address_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="GROQ_API_KEY"):
        registry.build(ProviderOptions(name="g", kind="groq"))
    with pytest.raises(ValueError, match="base_url"):
        openai_compatible.build(ProviderOptions(name="g", kind="openai_compatible"))
    with pytest.raises(ValueError, match="account"):
        registry.build(ProviderOptions(name="s", kind="snowflake", api_key="k"))
    with pytest.raises(registry.UnknownKind, match="'groq'"):
        registry.build(ProviderOptions(name="g", kind="grok1"))


def test_kinds_are_listed_without_importing_dialects() -> None:
    program = (
        "import sys, providers.registry as r; r.kinds(); r.env_keys(); r.base_urls(); "
        "print(sorted(m for m in sys.modules if m.startswith('providers.')))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['providers.base', 'providers.catalog', 'providers.prefill', 'providers.registry']"


def test_environment_keys_and_addresses() -> None:
    keys = registry.env_keys()
    assert keys["openai"] == "OPENAI_API_KEY"
    assert keys["groq"] == "GROQ_API_KEY"
    assert len(set(keys.values())) == len(keys)
    assert not {"azure", "snowflake", "ollama", "openai_compatible"} & keys.keys()
    assert registry.base_urls()["openai"] == "https://api.openai.com/v1"
    assert {"openai", "openai_compatible", "azure"} <= set(registry.kinds())


def test_refused_parameters_are_left_out_and_reported() -> None:
    call = provider("groq").call(request(logprobs=True, top_logprobs=2, seed=1), TARGET)
    assert said(call) == {"seed": 1}
    assert call.dropped == ("logprobs", "top_logprobs")


def test_a_list_of_other_models_does_not_reach_a_vendor_that_would_follow_it() -> None:
    call = provider("openrouter").call(request(models=["dear/model"], messages=[]), TARGET)
    assert said(call) == {"messages": []}
    assert call.dropped == ("models",)


def test_renamed_parameters_keep_their_value() -> None:
    assert said(provider("mistral").call(request(max_completion_tokens=9, seed=3), TARGET)) == {
        "max_tokens": 9, "random_seed": 3}  # fmt: skip
    both = request(max_completion_tokens=9, max_tokens=7)
    assert said(provider("deepseek").call(both, TARGET)) == {"max_tokens": 7}


def test_stream_options_go_only_where_they_are_taken() -> None:
    assert said(provider("groq").call(request(stream=True), TARGET))["stream_options"] == {"include_usage": True}
    asked = request(stream=True, stream_options={"include_usage": True}, include_usage=True)
    assert said(provider("mistral").call(asked, TARGET)) == {"stream": True}


def test_developer_messages_are_called_what_the_vendor_calls_them() -> None:
    messages = [{"role": "developer", "content": "x"}, {"role": "user", "content": "y"}]
    assert said(provider("deepseek").call(request(messages=messages), TARGET))["messages"] == [
        {"role": "system", "content": "x"}, messages[1]]  # fmt: skip
    assert said(provider("openrouter").call(request(messages=messages), TARGET))["messages"] == messages


def test_a_schema_the_vendor_does_not_know_goes_into_the_prompt() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    messages = [{"role": "user", "content": "y"}]
    call = provider("deepseek").call(request(messages=messages, response_format=form), TARGET)
    body = said(call)
    assert body["response_format"] == {"type": "json_object"}
    assert isinstance(body["messages"], list)
    assert json.dumps(schema, separators=(",", ":")) in body["messages"][0]["content"]
    assert body["messages"][1:] == messages
    assert call.dropped == ("response_format.json_schema",)


def test_foreign_tool_ids_are_put_into_the_vendors_form() -> None:
    messages = [
        {"role": "assistant", "tool_calls": [{"id": "call_abc", "function": {}}, {"id": "aB3dE6gH9", "function": {}}]},
        {"role": "tool", "tool_call_id": "call_abc", "content": "1"},
        {"role": "tool", "tool_call_id": "aB3dE6gH9", "content": "2"},
    ]
    sent = said(provider("mistral").call(request(messages=messages), TARGET))["messages"]
    assert isinstance(sent, list)
    ids = [call["id"] for call in sent[0]["tool_calls"]]
    assert re.fullmatch("[a-zA-Z0-9]{9}", ids[0])
    assert ids == [message["tool_call_id"] for message in sent[1:]]
    assert ids[1] == "aB3dE6gH9"
    assert messages[1]["tool_call_id"] == "call_abc"


def test_an_encoding_the_vendor_refuses_is_not_asked_for() -> None:
    asked = request("embeddings", input="x", encoding_format="float")
    assert said(provider("voyage").call(asked, TARGET)) == {"input": "x"}
    asked = request("embeddings", input="x", encoding_format="base64")
    assert said(provider("voyage").call(asked, TARGET)) == {"input": "x", "encoding_format": "base64"}


def test_an_operation_the_vendor_lacks_is_refused() -> None:
    with pytest.raises(ProviderError) as caught:
        provider("groq").call(request("embeddings", input="x"), TARGET)
    assert caught.value.kind is ErrorKind.CALLER
