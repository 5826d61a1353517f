"""Each rule of the way out: messages, media, tools, parameters, addresses."""

import json
from typing import Any

import pytest

from providers._gemini_contents import FOREIGN_SIGNATURE
from providers.base import Cause, ErrorKind, ProviderError, Target
from tests.providers.gemini_wire import FLASH, KEY, THIRD, USER, config, dropped, provider, request, said

PNG = "data:image/png;base64,iVBORw0KGgo="


def contents(*messages: dict[str, Any], model: str = FLASH) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = said(model, messages=list(messages))["contents"]
    return found


def refused(**members: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        said(**members)
    assert caught.value.kind is ErrorKind.CALLER
    assert caught.value.cause is Cause.UNSUPPORTED
    return caught.value


def call(id_: str, name: str = "f", arguments: str = "{}", **members: Any) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}, **members}


def calling(*calls: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **members}


def result(id_: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


# Addresses and keys


def test_the_key_is_in_a_header_and_never_in_the_address() -> None:
    sent = provider().call(request(), Target(FLASH))
    assert ("x-goog-api-key", KEY) in sent.headers
    assert KEY not in sent.url
    assert sent.url == f"https://generativelanguage.googleapis.com/v1beta/models/{FLASH}:generateContent"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("models/gemini-x", "models/gemini-x"),
        ("tunedModels/mine", "tunedModels/mine"),
        ("a/../../b?c", "models/a%2F..%2F..%2Fb%3Fc"),
    ],
)
def test_a_model_has_one_place(model: str, path: str) -> None:
    assert provider().call(request(), Target(model)).url.endswith(f"/v1beta/{path}:generateContent")


def test_a_stream_asks_for_events() -> None:
    assert provider().call(request(stream=True), Target(FLASH)).url.endswith(":streamGenerateContent?alt=sse")


def test_vertex_takes_an_access_token_as_bearer() -> None:
    vertex = provider(api_key="ya29.token", extra={"project": "p", "location": "europe-west4"})
    sent = vertex.call(request(), Target(FLASH))
    base = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4/publishers/google"
    assert sent.url == f"{base}/models/{FLASH}:generateContent"
    assert ("authorization", "Bearer ya29.token") in sent.headers
    nowhere = provider(extra={"project": "p"}).call(request(), Target(FLASH))
    assert nowhere.url.startswith("https://aiplatform.googleapis.com/v1/projects/p/locations/global/")
    assert ("x-goog-api-key", KEY) in nowhere.headers  # an API key stays one


def test_the_way_to_authenticate_can_be_said() -> None:
    sent = provider(extra={"auth": "bearer"}, headers={"X-Goog-User-Project": "p"}).call(request(), Target(FLASH))
    assert ("authorization", f"Bearer {KEY}") in sent.headers
    assert ("x-goog-user-project", "p") in sent.headers
    with pytest.raises(ValueError, match="bearer or api_key"):
        provider(extra={"auth": "basic"})


def test_legacy_completions_are_refused() -> None:
    with pytest.raises(ProviderError) as caught:
        provider().call(request("completions", prompt="x"), Target(FLASH))
    assert caught.value.error["code"] == "unsupported_operation"


# Messages


def test_instructions_stand_apart_and_turns_of_one_role_become_one() -> None:
    body = said(
        messages=[
            {"role": "system", "content": "a"},
            USER,
            {"role": "user", "content": [{"type": "text", "text": "there"}]},
            {"role": "assistant", "content": "yes"},
            {"role": "developer", "content": "b"},
        ]
    )
    assert body["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "hi"}, {"text": "there"}]},
        {"role": "model", "parts": [{"text": "yes"}]},
    ]


def test_instructions_alone_are_a_question() -> None:
    body = said(messages=[{"role": "system", "content": "say hi"}])
    assert body == {"contents": [{"role": "user", "parts": [{"text": "say hi"}]}]}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "image_url", "image_url": {"url": PNG}}, {"mimeType": "image/png", "data": "iVBORw0KGgo="}),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            {"mimeType": "audio/mpeg", "data": "AAAA"},
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE"}},
            {"mimeType": "application/pdf", "data": "JVBE"},
        ),
        ({"type": "file", "file": {"file_data": "JVBE"}}, {"mimeType": "application/pdf", "data": "JVBE"}),
    ],
)
def test_media_inside_the_request(part: dict[str, Any], expected: dict[str, str]) -> None:
    assert contents({"role": "user", "content": [part]})[0]["parts"] == [{"inlineData": expected}]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://x.example/a.webp?b"}},
            {"fileUri": "https://x.example/a.webp?b", "mimeType": "image/webp"},
        ),
        ({"type": "video_url", "video_url": {"url": "https://youtu.be/x"}}, {"fileUri": "https://youtu.be/x"}),
        (
            {"type": "image_url", "image_url": {"url": "gs://b/o", "format": "image/png"}},
            {"fileUri": "gs://b/o", "mimeType": "image/png"},
        ),
        (
            {"type": "file", "file": {"file_id": "files/abc", "format": "application/pdf"}},
            {
                "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc",
                "mimeType": "application/pdf",
            },
        ),
    ],
)
def test_media_elsewhere(part: dict[str, Any], expected: dict[str, str]) -> None:
    assert contents({"role": "user", "content": [part]})[0]["parts"] == [{"fileData": expected}]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ("hi", "messages"),
        ([{"role": "robot", "content": "x"}], "messages[0].role"),
        ([{"role": "assistant", "content": ""}], "messages"),
        ([{"role": "user", "content": [{"type": "thing"}]}], "messages[0].content[0].type"),
        ([USER, result("lost", "x")], "messages[1].tool_call_id"),
        ([{"role": "assistant", "tool_calls": "x"}], "messages[0].tool_calls"),
        ([{"role": "assistant", "tool_calls": [{"id": "1"}]}], "messages[0].tool_calls[0].function.name"),
        (
            [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-openai"}}]}],
            "messages[0].content[0].file.file_id",
        ),
    ],
)
def test_messages_without_a_meaning_are_refused(messages: Any, param: str) -> None:
    assert refused(messages=messages).error["param"] == param


def test_calls_and_their_results_find_each_other() -> None:
    turns = contents(
        USER,
        calling(call("c1", "f", '{"a": 1}'), call("c2", "g", "")),
        result("c2", "[1, 2]"),
        result("c1", '{"ok": true}'),
        {"role": "user", "content": "and?"},
    )
    assert turns[1] == {
        "role": "model",
        "parts": [
            {"functionCall": {"name": "f", "args": {"a": 1}, "id": "c1"}},
            {"functionCall": {"name": "g", "args": {}, "id": "c2"}},
        ],
    }
    assert turns[2]["parts"] == [
        {"functionResponse": {"name": "g", "response": {"output": [1, 2]}, "id": "c2"}},
        {"functionResponse": {"name": "f", "response": {"ok": True}, "id": "c1"}},
        {"text": "and?"},
    ]


@pytest.mark.parametrize("text", ["sunny", "007", "", "{broken", '"text"', "null"])
def test_a_result_that_is_no_object_is_the_output(text: str) -> None:
    part = contents(USER, calling(call("c")), result("c", text))[2]["parts"][0]
    assert part["functionResponse"]["response"] == {"output": text}


def test_the_form_before_tools_is_understood() -> None:
    old = {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}
    turns = contents(USER, old, {"role": "function", "name": "f", "content": "1"})
    assert turns[1]["parts"] == [{"functionCall": {"name": "f", "args": {}}}]
    assert turns[2]["parts"] == [{"functionResponse": {"name": "f", "response": {"output": "1"}}}]
    body = said(functions=[{"name": "f"}], function_call={"name": "f"})
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}


def test_a_picture_as_a_result() -> None:
    history = (USER, calling(call("c")), result("c", [{"type": "image_url", "image_url": {"url": PNG}}]))
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    response = {"name": "f", "response": {"output": ""}, "id": "c"}
    assert contents(*history)[2]["parts"] == [{"functionResponse": response}, picture]
    assert contents(*history, model=THIRD)[2]["parts"] == [{"functionResponse": {**response, "parts": [picture]}}]


def test_signatures_come_back_where_they_were() -> None:
    signed = {"google": {"thought_signature": "SIG"}}
    image = {"type": "image_url", "image_url": {"url": PNG}, "extra_content": {"google": {"thoughtSignature": "I"}}}
    message = calling(call("c", extra_content=signed), content="ok", extra_content=signed, images=[image])
    parts = contents(USER, message, model=THIRD)[1]["parts"]
    assert parts == [
        {"text": "ok", "thoughtSignature": "SIG"},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}, "thoughtSignature": "I"},
        {"functionCall": {"name": "f", "args": {}, "id": "c"}, "thoughtSignature": "SIG"},
    ]


@pytest.mark.parametrize(("model", "placeholder"), [(THIRD, FOREIGN_SIGNATURE), (FLASH, None)])
def test_a_lost_signature_is_replaced_where_one_is_demanded(model: str, placeholder: str | None) -> None:
    parts = contents(USER, calling(call("a"), call("b")), model=model)[1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [placeholder, None]


# Tools


def function(**members: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **members}}


def test_tools_are_declared_with_json_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    tools = said(tools=[function(description="d", parameters=schema), {"googleSearch": {}}])["tools"]
    declaration = {"name": "f", "description": "d", "parametersJsonSchema": schema}
    assert tools == [{"googleSearch": {}}, {"functionDeclarations": [declaration]}]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [function()]}},
            {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function()]}},
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_tool_choice(choice: Any, expected: dict[str, Any]) -> None:
    assert said(tools=[function()], tool_choice=choice)["toolConfig"] == {"functionCallingConfig": expected}


def test_tool_choice_that_means_nothing() -> None:
    assert "toolConfig" not in said(tools=[function()])
    assert "toolConfig" not in said(tool_choice="auto")
    assert refused(tools=[function()], tool_choice="maybe").error["param"] == "tool_choice"
    assert refused(tools=[{"type": "function", "function": {}}]).error["param"] == "tools[0].function.name"
    assert refused(tools={}).error["param"] == "tools"


def test_strict_tools_are_validated_where_models_can() -> None:
    strict = {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert said(tools=[function(strict=True)])["toolConfig"] == strict
    assert "toolConfig" not in said("gemini-2.0-flash", tools=[function(strict=True)])


def test_what_tools_cannot_say_is_listed() -> None:
    assert dropped(tools=[{"type": "custom", "custom": {"name": "x"}}]) == ("tools",)
    assert dropped(tools=[function()], parallel_tool_calls=False) == ("parallel_tool_calls",)
    assert dropped(tools=[function()], web_search_options={}) == ("web_search_options",)
    assert said(web_search_options={})["tools"] == [{"googleSearch": {}}]


def test_the_body_of_the_caller_is_left_alone() -> None:
    members = {"tools": [function(parameters={"definitions": {}, "allOf": [{"required": ["a"]}], "required": []})]}
    asked = request(generationConfig={"topK": 1}, temperature=1, **members)
    before = json.dumps(asked.body)
    provider().call(asked, Target(FLASH))
    assert json.dumps(asked.body) == before


def test_parameters_of_the_same_kind_have_one_config() -> None:
    assert config(temperature=0.5, generationConfig={"top_k": 3, "mediaResolution": "LOW"}) == {
        "temperature": 0.5,
        "topK": 3,
        "mediaResolution": "LOW",
    }
