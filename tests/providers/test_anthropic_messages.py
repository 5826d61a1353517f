"""OpenAI conversations in Anthropic's words, rule by rule."""

import base64
import json
from typing import Any

import pytest

from providers.anthropic import build
from providers.base import Call, Cause, ErrorKind, ProviderError, ProviderOptions, Request, Target

Json = dict[str, Any]
PNG = "iVBORw0KGgo="
MARK = {"type": "ephemeral"}
PROVIDER = build(ProviderOptions("claude", "anthropic", api_key="sk-ant-0123456789"))


def call_for(*messages: Any, model: str = "claude-sonnet-4-5", **members: Any) -> Call:
    body = {"model": "m", "messages": list(messages), **members}
    return PROVIDER.call(Request("chat", body, b"", "m", False, False, "r"), Target(model))


def sent(*messages: Any, **members: Any) -> Json:
    found: Json = json.loads(call_for(*messages, **members).body)
    return found


def turns(*messages: Any) -> list[tuple[str, list[Json]]]:
    return [(turn["role"], turn["content"]) for turn in sent(*messages)["messages"]]


def text(value: str, **members: Any) -> Json:
    return {"type": "text", "text": value, **members}


def user(content: Any, **members: Any) -> Json:
    return {"role": "user", "content": content, **members}


def assistant(content: Any = None, **members: Any) -> Json:
    return {"role": "assistant", "content": content, **members}


def tool(id: str, content: Any, **members: Any) -> Json:
    return {"role": "tool", "tool_call_id": id, "content": content, **members}


def calls(*named: tuple[str, str, str]) -> list[Json]:
    return [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in named]


def use(id: str, name: str, **arguments: Any) -> Json:
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


def result(id: str, content: Any = None, **members: Any) -> Json:
    said = {} if content is None else {"content": content}
    return {"type": "tool_result", "tool_use_id": id, **said, **members}


def refused(*messages: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        call_for(*messages)
    assert (caught.value.kind, caught.value.cause) == (ErrorKind.CALLER, Cause.UNSUPPORTED)
    return caught.value


def test_instructions_are_gathered_in_order() -> None:
    out = sent(
        {"role": "system", "content": "one"},
        user("hi"),
        {"role": "developer", "content": [text("two", cache_control=MARK)]},
    )
    assert out["system"] == [text("one"), text("two", cache_control=MARK)]
    assert out["messages"] == [{"role": "user", "content": [text("hi")]}]


def test_instructions_alone_become_the_prompt() -> None:
    out = sent({"role": "system", "content": "one"}, {"role": "system", "content": "two"})
    assert out["system"] == [text("one")]
    assert out["messages"] == [{"role": "user", "content": [text("two")]}]


def test_turns_of_one_role_are_one_turn() -> None:
    assert turns(user("a"), user("b"), assistant("c"), assistant("d"), user("e")) == [
        ("user", [text("a"), text("b")]),
        ("assistant", [text("c"), text("d")]),
        ("user", [text("e")]),
    ]


def test_the_user_begins() -> None:
    assert [role for role, _ in turns(assistant("hello"), user("hi"))] == ["user", "assistant", "user"]


def test_text_without_words_is_left_out() -> None:
    assert turns(user([text(""), text(" \n"), text("a ")]), assistant(""), user("b")) == [
        ("user", [text("a "), text("b")])
    ]
    assert [role for role, _ in turns(user(""))] == ["user"]


def test_a_prefill_ends_without_white_space() -> None:
    assert turns(user("a"), assistant("The answer is \n")) == [
        ("user", [text("a")]),
        ("assistant", [text("The answer is")]),
    ]
    assert turns(user("a"), assistant("b "), user("c"))[1] == ("assistant", [text("b ")])


def test_parallel_calls_and_their_results_are_one_turn_each_results_first() -> None:
    found = turns(
        user("a"),
        assistant("Looking.", tool_calls=calls(("c1", "f", '{"x": 1}'), ("c2", "g", ""))),
        tool("c1", "one"),
        tool("c2", [text("two"), {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]),
        user("and?"),
    )
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    assert found[1] == ("assistant", [text("Looking."), use("c1", "f", x=1), use("c2", "g")])
    assert found[2] == ("user", [result("c1", "one"), result("c2", [text("two"), image]), text("and?")])


def test_a_result_that_comes_late_still_stands_first() -> None:
    found = turns(user("a"), assistant(tool_calls=calls(("c", "f", "{}"))), user("hurry"), tool("c", "done"))
    assert found[2] == ("user", [result("c", "done"), text("hurry")])


def test_results_may_be_empty_or_failed() -> None:
    found = turns(
        user("a"),
        assistant(tool_calls=calls(("c", "f", "{}"), ("d", "f", "{}"), ("e", "f", "{}"))),
        tool("c", ""),
        tool("d", None),
        tool("e", "no", is_error=True, cache_control=MARK),
    )
    assert found[2][1] == [result("c"), result("d"), result("e", "no", is_error=True, cache_control=MARK)]


def test_broken_arguments_do_not_end_a_conversation() -> None:
    found = turns(user("a"), assistant(tool_calls=calls(("c", "f", '{"x": '))), tool("c", "what?"))
    assert found[1][1] == [use("c", "f", invalid_arguments='{"x": ')]


def test_foreign_ids_are_spelled_alike_on_both_sides_and_stay_apart() -> None:
    found = turns(
        user("a"),
        assistant(tool_calls=calls(("functions.x:0", "x", "{}"), ("functions_x_0", "x", "{}"), ("ok-1", "x", "{}"))),
        tool("functions_x_0", "second"),
        tool("functions.x:0", "first"),
        tool("ok-1", "third"),
    )
    ids = [block["id"] for block in found[1][1]]
    assert ids == ["functions_x_0", "functions_x_0_2", "ok-1"]
    assert [(b["tool_use_id"], b["content"]) for b in found[2][1]] == [
        ("functions_x_0_2", "second"),
        ("functions_x_0", "first"),
        ("ok-1", "third"),
    ]


@pytest.mark.parametrize(
    ("part", "block"),
    [
        ({"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{PNG}"}},
         {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PNG}}),
        ({"type": "image_url", "image_url": {"url": "https://x.example/a.png"}, "cache_control": MARK},
         {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}, "cache_control": MARK}),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"}},
         {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PNG},
          "title": "a.pdf"}),
        ({"type": "file", "file": {"file_data": f"data:image/png;base64,{PNG}"}},
         {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
        ({"type": "file", "file": {"file_data": "data:text/csv;base64," + base64.b64encode(b"a,b").decode()}},
         {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}}),
        ({"type": "file", "file": {"file_data": "https://x.example/a.pdf"}},
         {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}}),
        ({"type": "document", "source": {"type": "url", "url": "https://x.example/a"}, "context": "c"},
         {"type": "document", "source": {"type": "url", "url": "https://x.example/a"}, "context": "c"}),
    ],
)  # fmt: skip
def test_media(part: Json, block: Json) -> None:
    assert turns(user([part]))[0][1] == [block]


def test_an_uploaded_file_brings_its_beta() -> None:
    part = {"type": "file", "file": {"file_id": "file_011C"}}
    call = call_for(user([part]))
    assert json.loads(call.body)["messages"][0]["content"][0]["source"] == {"type": "file", "file_id": "file_011C"}
    assert dict(call.headers)["anthropic-beta"] == "files-api-2025-04-14"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (user([{"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}}]), "messages[0].content[0]"),
        (user([{"type": "file", "file": {"file_id": "file-abc"}}]), "messages[0].content[0]"),
        (user([{"type": "file", "file": {"file_data": "data:application/zip;base64,AA=="}}]), "messages[0].content[0]"),
        (user([{"type": "hologram"}]), "messages[0].content[0]"),
        ({"role": "system", "content": [{"type": "image_url", "image_url": "https://x.example/a"}]},
         "messages[0].content[0]"),
        ({"role": "narrator", "content": "x"}, "messages[0].role"),
        ("hi", "messages[0].role"),
        (assistant(tool_calls=[{"id": "c", "type": "custom", "custom": {"name": "f", "input": ""}}]),
         "messages[0].tool_calls[0]"),
        (assistant(tool_calls=[{"type": "function", "function": {"name": "f", "arguments": ""}}]),
         "messages[0].tool_calls[0].id"),
        (assistant(function_call={"name": "f", "arguments": ""}), "messages[0].function_call"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_with_its_place(message: Any, param: str) -> None:
    error = refused(message)
    assert str(error.error["param"]).startswith(param)
    assert error.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("messages", [None, [], "hi"])
def test_a_request_needs_messages(messages: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        PROVIDER.call(Request("chat", {"messages": messages}, b"", "m", False, False, "r"), Target("claude"))
    assert caught.value.error["param"] == "messages"


def test_refusals_in_the_history_are_words() -> None:
    assert turns(user("a"), assistant(refusal="I will not."), user("b"))[1] == ("assistant", [text("I will not.")])
    part = {"type": "refusal", "refusal": "No."}
    assert turns(user("a"), assistant([part]), user("b"))[1] == ("assistant", [text("No.")])


def test_cache_markers_stay_where_they_were_put() -> None:
    out = sent(
        {"role": "system", "content": "s", "cache_control": MARK},
        user([text("a"), text("b", cache_control=MARK)]),
        assistant("c", cache_control=MARK),
        user("d"),
    )
    assert out["system"] == [text("s", cache_control=MARK)]
    assert out["messages"][0]["content"] == [text("a"), text("b", cache_control=MARK)]
    assert out["messages"][1]["content"] == [text("c", cache_control=MARK)]


def test_signed_thinking_goes_back_to_its_place() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "s1"}
    hidden = {"type": "redacted_thinking", "data": "xyz"}
    later = {"type": "thinking", "thinking": "so", "signature": "s2"}
    message = assistant(
        "Looking.",
        tool_calls=calls(("c", "f", "{}")),
        reasoning_content="hmso",
        thinking_blocks=[{**signed, "index": 0}, {**hidden, "index": 1}, {**later, "index": 3}],
    )
    assert turns(user("a"), message, tool("c", "x"))[1][1] == [
        signed,
        hidden,
        text("Looking."),
        later,
        use("c", "f"),
    ]


def test_thinking_comes_first_where_its_place_is_unknown() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "s1"}
    assert turns(user("a"), assistant("b", thinking_blocks=[signed]), user("c"))[1][1] == [signed, text("b")]
    details = [{"type": "reasoning.text", "text": "hm", "signature": "s1", "format": "anthropic-claude-v1"}]
    assert turns(user("a"), assistant("b", reasoning_details=details), user("c"))[1][1] == [signed, text("b")]


def test_thinking_that_nobody_signed_is_left_out() -> None:
    message = assistant("b", reasoning_content="hm", thinking_blocks=[{"type": "thinking", "thinking": "hm"}])
    assert turns(user("a"), message, user("c"))[1][1] == [text("b")]


def test_the_callers_body_is_not_changed() -> None:
    body = {
        "messages": [user([text("a")], cache_control=MARK), assistant("x ", thinking_blocks=[])],
        "response_format": {"type": "json_object"},
        "output_config": {"effort": "low"},
    }
    before = json.dumps(body)
    PROVIDER.call(Request("chat", body, b"", "m", False, False, "r"), Target("claude-opus-5"))
    assert json.dumps(body) == before
