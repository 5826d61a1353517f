"""What a body asks of a model, and that no body is too strange for the question."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.schema import Capability
from routing.needs import needs_of

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
TEXT = {"type": "text", "text": "hi"}


def chat(*parts, **more):
    return {"model": "m", "messages": [{"role": "user", "content": list(parts) or "hi"}], **more}


def needed(body, operation="chat", *, is_stream=False):
    return needs_of(operation, body, is_stream=is_stream).capabilities


def of_file(**file):
    return chat({"type": "file", "file": file})


def test_plain_text():
    assert needed(chat(temperature=0.2, stop=["x"])) == {"text"}
    assert needed({"prompt": "hi"}, "completions", is_stream=True) == {"text", "streaming"}
    assert needed({"input": "hi", "tools": [{}]}, "embeddings") == {"embeddings"}
    assert needs_of("chat", chat(), is_stream=True) is needs_of("chat", chat(TEXT), is_stream=True)


@pytest.mark.parametrize(
    ("body", "more"),
    [
        (chat(tools=[{"type": "function"}]), {"tools"}),
        (chat(tools=[{"type": "function"}], tool_choice="none"), {"tools"}),
        (chat(functions=[{"name": "f"}]), {"tools"}),
        (chat(tools=[]), set()),
        (chat(tools=None), set()),
        (chat(response_format={"type": "json_schema", "json_schema": {}}), {"json_schema"}),
        (chat(response_format={"type": "json_object"}), set()),
        (chat(TEXT, IMAGE), {"vision"}),
        (chat(AUDIO), {"audio"}),
        (chat(modalities=["text", "audio"], audio={"voice": "alloy"}), {"audio"}),
        (chat(modalities=["text"]), set()),
        (of_file(file_id="file-1"), {"pdf"}),
        (of_file(filename="a.pdf", file_data="data:application/pdf;base64,AA"), {"pdf"}),
        (of_file(file_data="data:image/png;base64,AA"), {"vision"}),
        (of_file(file_data="data:audio/wav;base64,AA"), {"audio"}),
        (of_file(file_data="data:text/plain;base64,AA"), set()),
        (chat({"type": "input_file", "file_id": "1"}), {"pdf"}),
        (chat(reasoning_effort="minimal"), {"reasoning"}),
        (chat(reasoning_effort="none"), set()),
        (chat(reasoning_effort=None), set()),
        (chat(reasoning={"effort": "high"}), {"reasoning"}),
        (chat(reasoning={"max_tokens": 2000}), {"reasoning"}),
        (chat(reasoning={"enabled": True}), {"reasoning"}),
        (chat(reasoning={"enabled": False, "effort": "high"}), set()),
        (chat(reasoning={"exclude": True}), set()),
        (chat(thinking={"type": "enabled", "budget_tokens": 1024}), {"reasoning"}),
        (chat(thinking={"type": "disabled"}), set()),
    ],
)
def test_what_asks_for_more(body, more):
    assert needed(body) == {"text"} | more
    assert needed(body, is_stream=True) == {"text", "streaming"} | more


def test_images_are_counted_in_every_message():
    body = chat(IMAGE, TEXT, IMAGE)
    body["messages"] += [{"role": "assistant", "content": "fine"}, {"role": "user", "content": [IMAGE, AUDIO]}]
    assert needs_of("chat", body, is_stream=False).images == 3
    assert needed(body) == {"text", "vision", "audio"}


def test_every_need_is_a_word_of_the_configuration():
    body = chat(IMAGE, AUDIO, {"type": "file"}, tools=[1], reasoning_effort="low")
    body["response_format"] = {"type": "json_schema"}
    both = needed(body, is_stream=True) | needed({}, "embeddings")
    assert both == set(Capability.__args__)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "content", "file", "file_data", "effort", "image_url"]) | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)
_MEMBERS = [
    "messages",
    "tools",
    "functions",
    "response_format",
    "modalities",
    "audio",
    "reasoning",
    "thinking",
    "input",
]


@given(
    body=st.dictionaries(st.sampled_from([*_MEMBERS, "reasoning_effort"]), _ANYTHING, max_size=5),
    messages=st.lists(st.fixed_dictionaries({"content": _ANYTHING}), max_size=3),
    operation=st.sampled_from(["chat", "completions", "embeddings"]),
    is_stream=st.booleans(),
)
def test_it_never_raises(body, messages, operation, is_stream):
    for one in (body, {**body, "messages": messages}):
        found = needs_of(operation, one, is_stream=is_stream)
        assert found.images >= 0
        assert ("vision" in found.capabilities) >= (found.images > 0)
