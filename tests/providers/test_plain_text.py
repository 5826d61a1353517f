"""Which requests are text alone, so that a tokenizer's count of them can be relied on."""

import pytest

from providers.bounds import is_plain_text

TEXT = {"role": "user", "content": "hello"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"messages": [TEXT]}, True),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}, True),
        ({"messages": [TEXT], "response_format": {"type": "json_object"}}, True),
        ({"prompt": "hello"}, True),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, False),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, False),
        ({"messages": [TEXT], "tools": [{"type": "function"}]}, False),
        ({"messages": [TEXT], "web_search_options": {"search_context_size": "low"}}, False),
        ({"messages": [TEXT], "response_format": {"type": "json_schema", "json_schema": {}}}, False),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]}, False),
        ({"messages": ["odd"]}, False),
    ],
)
def test_plain_text(body, expected):
    assert is_plain_text(body) is expected
