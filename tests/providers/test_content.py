"""Message parts are understood in the spellings that clients use."""

import base64

import pytest

from providers.base import Cause, ErrorKind, ProviderError
from providers.content import INVALID_ARGUMENTS_KEY, Media, Other, Text, decoded_text, parts, text_of, tool_arguments

PNG = "iVBORw0KGgo="


def only(item: object) -> Text | Media | Other:
    (found,) = parts([item], "messages[0].content")
    return found


def test_text_comes_as_a_string_or_as_parts() -> None:
    assert parts(None, "c") == []
    assert parts("hi", "c") == [Text("hi", {})]
    assert only({"type": "text", "text": "hi"}) == Text("hi", {"type": "text", "text": "hi"})
    assert only("hi") == Text("hi", {})
    refusal = only({"type": "refusal", "refusal": "no"})
    assert isinstance(refusal, Text)
    assert (refusal.text, refusal.is_refusal) == ("no", True)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
         {"kind": "image", "media_type": "image/png", "data": PNG, "detail": "low"}),
        ({"type": "image_url", "image_url": f"data:IMAGE/PNG;charset=x;base64,{PNG}"},
         {"kind": "image", "media_type": "image/png", "data": PNG}),
        ({"type": "image_url", "image_url": {"url": "https://x.example/a.JPG?size=1"}},
         {"kind": "image", "media_type": "image/jpeg", "url": "https://x.example/a.JPG?size=1"}),
        ({"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Csvg%2F%3E"}},
         {"kind": "image", "media_type": "image/svg+xml", "data": base64.b64encode(b"<svg/>").decode()}),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"}},
         {"kind": "file", "media_type": "application/pdf", "data": PNG, "filename": "a.pdf"}),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": PNG}},
         {"kind": "file", "media_type": "application/pdf", "data": PNG, "filename": "a.pdf"}),
        ({"type": "file", "file": {"file_id": "file-1"}}, {"kind": "file", "file_id": "file-1"}),
        ({"type": "file", "file": {"file_data": "https://x.example/a.pdf"}},
         {"kind": "file", "media_type": "application/pdf", "url": "https://x.example/a.pdf"}),
        ({"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}},
         {"kind": "audio", "media_type": "audio/mpeg", "data": PNG}),
        ({"type": "input_audio", "input_audio": {"data": PNG, "format": "flac"}},
         {"kind": "audio", "media_type": "audio/flac", "data": PNG}),
        ({"type": "video_url", "video_url": {"url": "https://x.example/a.mp4"}},
         {"kind": "video", "media_type": "video/mp4", "url": "https://x.example/a.mp4"}),
    ],
)  # fmt: skip
def test_media(item: dict[str, object], expected: dict[str, str]) -> None:
    found = only(item)
    assert isinstance(found, Media)
    names = ("kind", "media_type", "data", "url", "file_id", "filename", "detail")
    assert {name: getattr(found, name) for name in names if getattr(found, name) is not None} == expected
    assert found.raw is item


def test_what_is_not_openais_is_left_to_the_dialect() -> None:
    assert only({"type": "document", "x": 1}) == Other("document", {"type": "document", "x": 1})


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (5, "c"),
        ([5], "c[0]"),
        ([{"type": "text"}], "c[0].text"),
        ([{"type": "image_url"}], "c[0].image_url.url"),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}], "c[0].image_url.url"),
        ([{"type": "text", "text": "a"}, {"type": "file"}], "c[1].file"),
        ([{"type": "file", "file": {}}], "c[0].file"),
        ([{"type": "input_audio", "input_audio": {}}], "c[0].input_audio"),
    ],
)
def test_nonsense_is_the_callers_error_and_says_where(content: object, param: str) -> None:
    with pytest.raises(ProviderError) as caught:
        parts(content, "c")
    assert (caught.value.kind, caught.value.cause) == (ErrorKind.CALLER, Cause.UNSUPPORTED)
    assert caught.value.error["param"] == param
    assert caught.value.error["type"] == "invalid_request_error"


def test_text_only_messages() -> None:
    assert text_of([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "c") == "ab"
    with pytest.raises(ProviderError, match=r"c\[0\]"):
        text_of([{"type": "file", "file": {"file_id": "x"}}], "c")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        ("  ", {}),
        (None, {}),
        ("null", {}),
        ({"a": 1}, {"a": 1}),
        ('{"a": ', {INVALID_ARGUMENTS_KEY: '{"a": '}),
        ("[1]", {INVALID_ARGUMENTS_KEY: "[1]"}),
    ],
)
def test_tool_arguments(arguments: object, expected: dict[str, object]) -> None:
    assert tool_arguments(arguments) == expected


def test_a_text_file_is_decoded_or_refused() -> None:
    assert decoded_text(base64.b64encode("é".encode()).decode(), "c") == "é"
    with pytest.raises(ProviderError):
        decoded_text(base64.b64encode(b"\xff").decode(), "c")
