"""OpenAI's parameters in Anthropic's words; what cannot be said is listed. Each generation of models takes others."""

import json
from typing import Any

import pytest

from providers._anthropic_schema import adapted
from providers.anthropic import build
from providers.base import Call, Cause, ErrorKind, ProviderError, ProviderOptions, Request, Target

Json = dict[str, Any]
PROVIDER = build(ProviderOptions("claude", "anthropic", api_key="sk-ant-0123456789"))
SONNET = "claude-sonnet-4-5"  # thinks by budget
OPUS_46, OPUS_47, OPUS_5, OPUS_55 = "claude-opus-4-6", "claude-opus-4-7", "claude-opus-5", "claude-opus-5-5"
OLD = "claude-sonnet-4-20250514"  # no structured outputs
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
OTHER_TOOL = {"type": "function", "function": {"name": "g"}}
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "number", "strict": True, "schema": SCHEMA}}


def call_for(model: str = SONNET, max_output: int | None = None, **members: Any) -> Call:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **members}
    return PROVIDER.call(Request("chat", body, b"", "m", False, False, "r"), Target(model, None, max_output))


def said(model: str = SONNET, max_output: int | None = None, **members: Any) -> tuple[Json, set[str]]:
    """(what was added to a bare request, what was dropped)"""
    call = call_for(model, max_output, **members)
    out = json.loads(call.body)
    del out["messages"], out["model"]
    if out["max_tokens"] == 32_000:
        del out["max_tokens"]
    return out, set(call.dropped)


def refused(model: str = SONNET, **members: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        call_for(model, **members)
    assert (caught.value.kind, caught.value.cause) == (ErrorKind.CALLER, Cause.UNSUPPORTED)
    return caught.value


def test_the_call() -> None:
    call = call_for(stream=True)
    assert (call.method, call.url) == ("POST", "https://api.anthropic.com/v1/messages")
    headers = dict(call.headers)
    assert headers["anthropic-version"] == "2023-06-01"
    assert headers["x-api-key"] == "sk-ant-0123456789"
    assert headers["content-type"] == "application/json"
    assert "anthropic-beta" not in headers
    assert json.loads(call.body)["model"] == SONNET


@pytest.mark.parametrize(
    "base_url", ["https://x.example/anthropic", "https://x.example/anthropic/", "https://x.example/anthropic/v1"]
)
def test_the_operators_address_and_headers(base_url: str) -> None:
    options = ProviderOptions(
        "x", "anthropic", base_url=base_url, headers={"Anthropic-Beta": "b-1", "Authorization": "Bearer t"}
    )
    body = {"messages": [{"role": "user", "content": "hi"}]}
    call = build(options).call(Request("chat", body, b"", "m", True, False, "r"), Target("claude"))
    assert call.url == "https://x.example/anthropic/v1/messages"
    headers = dict(call.headers)
    assert (headers["anthropic-beta"], headers["authorization"]) == ("b-1", "Bearer t")
    assert "x-api-key" not in headers
    assert headers["accept"] == "text/event-stream"
    assert json.loads(call.body)["stream"] is True


@pytest.mark.parametrize("operation", ["embeddings", "completions"])
def test_other_operations_are_refused(operation: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        PROVIDER.call(Request(operation, {"input": "x"}, b"", "m", False, False, "r"), Target(SONNET))
    assert caught.value.cause is Cause.UNSUPPORTED


def test_a_limit_is_always_said() -> None:
    assert said(max_tokens=5) == ({"max_tokens": 5}, set())
    assert said(max_tokens=5, max_completion_tokens=7) == ({"max_tokens": 7}, set())
    assert said(max_output=9) == ({"max_tokens": 9}, set())
    assert said(max_output=9, max_tokens=5) == ({"max_tokens": 5}, set())
    assert said(max_output=9, max_tokens=10) == ({"max_tokens": 9}, {"max_tokens"})
    assert said() == ({}, set())
    assert said("claude-3-haiku-20240307")[0] == {"max_tokens": 4096}
    assert said("claude-3-5-sonnet-latest")[0] == {"max_tokens": 8192}
    assert refused(max_tokens="many").error["param"] == "max_tokens"


@pytest.mark.parametrize(
    ("given", "out", "dropped"),
    [
        ({"temperature": 0.3}, {"temperature": 0.3}, set()),
        ({"temperature": 1.6}, {"temperature": 1}, {"temperature"}),
        ({"top_p": 0.2, "top_k": 4}, {"top_p": 0.2, "top_k": 4}, set()),
        ({"temperature": 0.3, "top_p": 0.2}, {"temperature": 0.3}, {"top_p"}),
        ({"temperature": 0.3, "top_p": 1}, {"temperature": 0.3}, set()),
        ({"temperature": 1, "top_p": 0.2}, {"top_p": 0.2}, set()),
        ({"temperature": None, "top_p": None}, {}, set()),
    ],
)
def test_sampling(given: Json, out: Json, dropped: set[str]) -> None:
    assert said(**given) == (out, dropped)


def test_newer_models_take_no_sampling() -> None:
    assert said(OPUS_47, temperature=0.3, top_p=0.2, top_k=1) == ({}, {"temperature", "top_p", "top_k"})
    assert said(OPUS_47, temperature=1, top_p=1) == ({}, set())
    assert said("claude-opus-4-20250514", temperature=0.3, top_p=0.2)[0] == {"temperature": 0.3, "top_p": 0.2}
    assert refused(temperature="warm").error["param"] == "temperature"


@pytest.mark.parametrize(
    ("stop", "out", "dropped"),
    [
        ("END", {"stop_sequences": ["END"]}, set()),
        (["A", "\n", "B"], {"stop_sequences": ["A", "B"]}, {"stop"}),
        ("\n\n", {}, {"stop"}),
        ([], {}, set()),
        (None, {}, set()),
    ],
)
def test_stop(stop: Any, out: Json, dropped: set[str]) -> None:
    assert said(stop=stop) == (out, dropped)


def test_users() -> None:
    assert said(user="u-1") == ({"metadata": {"user_id": "u-1"}}, set())
    assert said(safety_identifier="u-2") == ({"metadata": {"user_id": "u-2"}}, set())
    assert said(user="u-1", metadata={"user_id": "u-3"})[0] == {"metadata": {"user_id": "u-3"}}
    assert said(metadata={"team": "a"}) == ({}, {"metadata"})
    assert said(user="a@b.example") == ({}, {"user"})
    assert said(user="x" * 300) == ({}, {"user"})


def test_service_tiers() -> None:
    assert said(service_tier="auto") == ({"service_tier": "auto"}, set())
    assert said(service_tier="default") == ({"service_tier": "standard_only"}, set())
    assert said(service_tier="flex") == ({}, {"service_tier"})


def test_what_anthropic_has_no_word_for_is_listed() -> None:
    given = {
        "frequency_penalty": 0.5, "logit_bias": {"1": 2}, "logprobs": True, "n": 2, "presence_penalty": 1, "seed": 1,
        "store": True, "top_logprobs": 3, "verbosity": "low", "prediction": {}, "web_search_options": {},
        "modalities": ["text", "audio"], "audio": {"voice": "x"}, "prompt_cache_key": "k",
    }  # fmt: skip
    assert said(**given) == ({}, set(given))


def test_what_asks_for_nothing_is_not_listed() -> None:
    given = {"frequency_penalty": 0, "logit_bias": {}, "logprobs": False, "n": 1, "presence_penalty": 0.0, "seed": None,
             "store": False, "modalities": ["text"]}  # fmt: skip
    assert said(**given) == ({}, set())


def test_anthropics_own_members_pass() -> None:
    given = {"thinking": {"type": "enabled", "budget_tokens": 2000}, "container": "c", "mcp_servers": [{"name": "x"}],
             "cache_control": {"type": "ephemeral"}, "output_config": {"effort": "low"}}  # fmt: skip
    assert said(**given) == (given, set())


def test_tools() -> None:
    native = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    marked = {**TOOL, "cache_control": {"type": "ephemeral"}}
    out, dropped = said(tools=[marked, OTHER_TOOL, native])
    assert out == {
        "tools": [
            {
                "name": "f",
                "description": "d",
                "input_schema": {"type": "object"},
                "cache_control": {"type": "ephemeral"},
            },
            {"name": "g", "input_schema": {"type": "object", "properties": {}}},
            native,
        ]
    }
    assert dropped == set()


def test_strict_tools() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    strict = {"type": "function", "function": {"name": "f", "strict": True, "parameters": schema}}
    out, dropped = said(tools=[strict])
    assert out["tools"] == [{"name": "f", "strict": True, "input_schema": adapted(schema)}]
    assert dropped == set()
    out, dropped = said(OLD, tools=[strict])
    assert out["tools"] == [{"name": "f", "input_schema": schema}]
    assert dropped == {"tools.strict"}


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ({"type": "function", "function": {"name": "f"}}, None, {"type": "tool", "name": "f"}),
        ({"type": "any"}, None, {"type": "any"}),
    ],
)
def test_tool_choice(choice: Any, parallel: Any, expected: Any) -> None:
    out, dropped = said(tools=[TOOL], tool_choice=choice, parallel_tool_calls=parallel)
    assert out.get("tool_choice") == expected
    assert dropped == set()


def test_allowed_tools_are_the_only_ones_offered() -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    out, _ = said(tools=[TOOL, OTHER_TOOL], tool_choice=choice)
    assert [tool["name"] for tool in out["tools"]] == ["g"]
    assert out["tool_choice"] == {"type": "any"}


def test_models_that_cannot_be_forced_are_asked() -> None:
    for model in (OPUS_55, "claude-fable-5-1", "claude-sonnet-5-5"):
        out, dropped = said(model, tools=[TOOL], tool_choice="required", parallel_tool_calls=False)
        assert out["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
        assert dropped == {"tool_choice"}


def test_a_choice_without_tools_is_dropped() -> None:
    assert said(tool_choice="required", parallel_tool_calls=False) == ({}, {"tool_choice"})
    assert said(tool_choice="auto", tools=[]) == ({}, set())


@pytest.mark.parametrize(
    "members",
    [
        {"functions": [{"name": "f"}]},
        {"tools": "f"},
        {"tools": [{"type": "function"}]},
        {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
        {"tools": [5]},
        {"tools": [TOOL], "tool_choice": "sometimes"},
        {"tools": [TOOL], "tool_choice": {"type": "custom"}},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "json_schema"}},
        {"reasoning_effort": "extreme"},
        {"stop": 5},
    ],
)
def test_nonsense_is_refused(members: Json) -> None:
    assert refused(**members).error["param"].startswith([*members][-1].split("_")[0])


def test_a_schema_is_a_structured_output() -> None:
    expected = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    assert said(response_format=JSON_SCHEMA) == (expected, set())
    assert said(response_format={"type": "text"}) == ({}, set())


def test_older_models_answer_with_a_tool_instead() -> None:
    out, dropped = said(OLD, response_format=JSON_SCHEMA)
    assert out["tools"][0]["name"] == "number"
    assert out["tools"][0]["input_schema"] == SCHEMA
    assert out["tool_choice"] == {"type": "tool", "name": "number", "disable_parallel_tool_use": True}
    assert dropped == set()
    out, _ = said(OLD, response_format=JSON_SCHEMA, tools=[TOOL])
    assert [tool["name"] for tool in out["tools"]] == ["f", "number"]
    assert out["tool_choice"] == {"type": "any"}
    out, _ = said(OLD, response_format=JSON_SCHEMA, tools=[TOOL], tool_choice="none")
    assert out["tool_choice"] == {"type": "tool", "name": "number", "disable_parallel_tool_use": True}


def test_a_schema_that_no_grammar_holds_is_a_tool_too() -> None:
    open_schema = {"type": "object", "additionalProperties": {"type": "string"}}
    format_ = {"type": "json_schema", "json_schema": {"name": "map", "schema": open_schema}}
    out, dropped = said(response_format=format_)
    assert (out["tools"][0]["input_schema"], dropped) == (open_schema, set())
    out, dropped = said(OPUS_55, response_format=format_)
    assert "tools" not in out
    assert dropped == {"response_format"}


def test_json_without_a_schema_is_asked_for_in_words() -> None:
    out, dropped = said(response_format={"type": "json_object"})
    assert "JSON" in out["system"][0]["text"]
    assert dropped == {"response_format"}


@pytest.mark.parametrize(
    ("model", "effort", "out", "dropped"),
    [
        (SONNET, "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}, set()),
        (SONNET, "high", {"thinking": {"type": "enabled", "budget_tokens": 16_384}}, set()),
        (SONNET, "max", {"thinking": {"type": "enabled", "budget_tokens": 25_600}}, set()),
        (SONNET, "none", {}, set()),
        ("claude-3-5-haiku-latest", "high", {"max_tokens": 8192}, {"reasoning_effort"}),
        ("claude-opus-4-5", "low", {"thinking": {"type": "enabled", "budget_tokens": 2048},
                                    "output_config": {"effort": "low"}}, set()),
        (OPUS_46, "medium", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}}, set()),
        (OPUS_46, "xhigh", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
         {"reasoning_effort"}),
        (OPUS_46, "none", {}, set()),
        (OPUS_47, "xhigh", {"thinking": {"type": "adaptive", "display": "summarized"},
                            "output_config": {"effort": "xhigh"}}, set()),
        (OPUS_47, "none", {}, set()),
        (OPUS_5, "minimal", {"thinking": {"type": "adaptive", "display": "summarized"},
                             "output_config": {"effort": "low"}}, {"reasoning_effort"}),
        (OPUS_5, "none", {"thinking": {"type": "disabled"}}, set()),
        ("claude-haiku-5-5", "none", {"thinking": {"type": "disabled"}}, set()),
        ("claude-sonnet-5-5", "none", {"thinking": {"type": "between_tools"}}, set()),
        (OPUS_55, "none", {"output_config": {"effort": "low"}}, {"reasoning_effort"}),
        ("claude-fable-5", "none", {"output_config": {"effort": "low"}}, {"reasoning_effort"}),
    ],
)  # fmt: skip
def test_reasoning_effort(model: str, effort: str, out: Json, dropped: set[str]) -> None:
    assert said(model, reasoning_effort=effort) == (out, dropped)
    assert said(model, reasoning={"effort": effort}) == (out, dropped)


def test_thinking_leaves_room_for_the_answer_or_is_dropped() -> None:
    assert said(max_tokens=4000, reasoning_effort="high")[0]["thinking"]["budget_tokens"] == 3200
    assert said(max_tokens=1000, reasoning_effort="high") == ({"max_tokens": 1000}, {"reasoning_effort"})


def test_thinking_and_sampling() -> None:
    out, dropped = said(reasoning_effort="low", temperature=0.2, top_p=0.5)
    assert set(out) == {"thinking"}
    assert dropped == {"temperature", "top_p"}
    out, dropped = said(reasoning_effort="low", temperature=1, top_p=0.97)
    assert out["top_p"] == 0.97
    assert dropped == set()


def test_thinking_by_budget_gives_way_to_a_forced_tool() -> None:
    out, dropped = said(reasoning_effort="low", tools=[TOOL], tool_choice="required")
    assert "thinking" not in out
    assert dropped == {"reasoning_effort"}
    out, dropped = said(OPUS_46, reasoning_effort="low", tools=[TOOL], tool_choice="required")
    assert (out["thinking"], out["tool_choice"], dropped) == ({"type": "adaptive"}, {"type": "any"}, set())


def test_thinking_by_budget_needs_the_thinking_of_the_loop() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    signed = [{"type": "thinking", "thinking": "hm", "signature": "s", "index": 0}]
    question, outcome = {"role": "user", "content": "q"}, {"role": "tool", "tool_call_id": "c", "content": "x"}

    def loop(*more: Json, **assistant: Any) -> tuple[Json, set[str]]:
        turn = {"role": "assistant", "content": None, "tool_calls": [call], **assistant}
        return said(messages=[question, turn, outcome, *more], reasoning_effort="low", tools=[TOOL])

    assert loop()[1] == {"reasoning_effort"}
    assert "thinking" in loop(thinking_blocks=signed)[0]
    assert "thinking" in loop({"role": "assistant", "content": "done"}, {"role": "user", "content": "next"})[0]


def test_a_parameter_nobody_knows_is_listed() -> None:
    out, dropped = said("claude-sonnet-4-5", weird=1, seed=7, n=1)
    assert dropped == {"weird", "seed"}
    assert "weird" not in out


def test_an_effort_that_does_not_fit_is_listed() -> None:
    _, dropped = said("claude-sonnet-4-5", reasoning_effort="high", max_tokens=3000)
    assert dropped == {"reasoning_effort"}
