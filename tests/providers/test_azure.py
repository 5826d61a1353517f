"""Azure's addresses, keys and deviations."""

import json
from typing import Any

import pytest

from providers.base import ErrorKind, Operation
from tests.providers.openai_wire import TARGET, provider, request

BASE = "https://res.openai.azure.com"


@pytest.mark.parametrize(
    ("options", "operation", "url"),
    [
        ({"base_url": BASE}, "chat", f"{BASE}/openai/deployments/up-model/chat/completions?api-version=2024-10-21"),
        ({"base_url": BASE + "/openai/"}, "embeddings",
         f"{BASE}/openai/deployments/up-model/embeddings?api-version=2024-10-21"),
        ({"extra": {"resource": "res", "api_version": "2025-01-01-preview"}}, "completions",
         f"{BASE}/openai/deployments/up-model/completions?api-version=2025-01-01-preview"),
        ({"base_url": BASE + "/openai/v1/"}, "chat", f"{BASE}/openai/v1/chat/completions"),
        ({"base_url": BASE, "extra": {"api_version": "v1"}}, "chat", f"{BASE}/openai/v1/chat/completions"),
        ({"base_url": BASE + "/openai/v1", "extra": {"api_version": "preview"}}, "chat",
         f"{BASE}/openai/v1/chat/completions?api-version=preview"),
    ],
)  # fmt: skip
def test_address(options: dict[str, Any], operation: Operation, url: str) -> None:
    call = provider("azure", **options).call(request(operation, messages=[]), TARGET)
    assert call.url == url
    assert json.loads(call.body)["model"] == "up-model"


def test_key_goes_into_its_own_header_or_is_a_token() -> None:
    headers = dict(provider("azure", base_url=BASE, api_key="k1").call(request(), TARGET).headers)
    assert headers["api-key"] == "k1"
    assert "authorization" not in headers
    token = provider("azure", base_url=BASE, api_key="t1", extra={"auth": "bearer"})
    headers = dict(token.call(request(), TARGET).headers)
    assert headers["authorization"] == "Bearer t1"
    assert "api-key" not in headers


def test_an_address_is_needed() -> None:
    with pytest.raises(ValueError, match="base_url"):
        provider("azure")


def test_a_filtered_prompt_is_a_content_filter_error() -> None:
    body = {"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
                      "management policy.", "type": None, "param": "prompt", "code": "content_filter", "status": 400,
                      "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}}}}  # fmt: skip
    error = provider("azure", base_url=BASE).error(400, {}, json.dumps(body).encode())
    assert error.kind is ErrorKind.CONTENT_FILTER
    assert error.error["innererror"]["code"] == "ResponsibleAIPolicyViolation"


def test_an_answer_that_was_filtered_away_is_still_an_answer() -> None:
    choice = {"content_filter_results": {"hate": {"filtered": True}}, "finish_reason": "content_filter", "index": 0}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    reply = provider("azure", base_url=BASE).reply(request(), TARGET, json.dumps(body).encode())
    found = json.loads(reply.body)["choices"][0]
    assert reply.finish_reason == "content_filter"
    assert found["message"] == {"role": "assistant", "content": None}
    assert found["content_filter_results"] == choice["content_filter_results"]
