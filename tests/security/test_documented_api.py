"""Everything in the OpenAPI document of a running gateway: answered as documented, and never with a fault of ours.

schemathesis makes the requests: valid ones, and ones with wrong types, methods, media types and heads.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.e2e.setup import KEY, key_row
from tests.fakes.gateway import ADMIN_KEY, Gateway
from tests.fakes.http import send
from tests.fuzz.setup import fuzz

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("documented-api")]
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
CALLER = {"authorization": f"Bearer {KEY}"}
DOCUMENTED = [status_code_conformance, content_type_conformance, response_schema_conformance,
              response_headers_conformance]  # fmt: skip
# The document says of callers' endpoints that they exist; what they take is OpenAI's. These are bodies of that kind.
TEXTS = st.text(max_size=8)
TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "tool", "x"])}, optional={"content": TEXTS}),
    max_size=3,
)
BODIES = st.dictionaries(TEXTS, TEXTS, max_size=2) | st.fixed_dictionaries(
    {"model": st.sampled_from(["m", "auto", "sim/x", "é", ""])},
    optional={"messages": TURNS, "prompt": TEXTS, "input": TEXTS, "stream": st.booleans(), "n": st.integers(),
              "max_tokens": st.integers(), "request_id": TEXTS, "score": st.floats(0, 9)},
)  # fmt: skip
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.sampled_from(["auto", "m", "tester", "role", "user", "content", "x-signalbox-route"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.sampled_from(["role", "content"]), inner),
    max_leaves=6,
)
MEMBERS = ["prompt", "messages", "route", "model", "headers", "tags", "application", "key", "tools", "provider",
           "models", "max_tokens", "response_format", "stream", "input", "metadata", "user"]  # fmt: skip
QUESTIONS = st.dictionaries(st.sampled_from(MEMBERS), ANY, max_size=4) | st.fixed_dictionaries(
    {"prompt": TEXTS}, optional=dict.fromkeys(MEMBERS[2:], ANY)
)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    config = {
        "providers": {"sim": {"kind": "mock"}},
        "models": {"m": {"deployments": [{"provider": "sim", "model": "m"}]}},
        "routes": {"auto": {"pool": ["m"]}},
        "keys": [key_row("tester", KEY)],
        "feedback": {"file": "./feedback.jsonl"},
    }
    with Gateway(config) as running:
        yield running


def operations(gateway: Gateway, *, admin: bool) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{gateway.root_url}/openapi.json")
    found = [result.ok() for result in schema.get_all_operations()]
    return [operation for operation in found if operation.path.startswith("/admin") == admin]


def test_every_admin_operation_answers_as_documented(gateway: Gateway) -> None:
    found = operations(gateway, admin=True)
    assert {operation.label for operation in found} >= {"POST /admin/explain", "POST /admin/reload"}
    for operation in found:
        # What takes nothing cannot be asked in a wrong way.
        for mode in schemathesis.GenerationMode if operation.body else [schemathesis.GenerationMode.POSITIVE]:

            @fuzz(15)
            @given(operation.as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                answer = case.call(headers=ADMIN)
                case.validate_response(answer, checks=[not_a_server_error, *DOCUMENTED], headers=ADMIN)

            check()


def test_no_question_makes_an_explanation_fail(gateway: Gateway) -> None:
    """The document says "an object" of it; these have the members that are read, of every type."""
    (explain,) = (found for found in operations(gateway, admin=True) if found.path == "/admin/explain")

    @fuzz(80)
    @given(explain.as_strategy(), QUESTIONS)
    def check(case: Any, question: dict[str, Any]) -> None:
        answer = case.call(headers=ADMIN, json=question)
        case.validate_response(answer, checks=[not_a_server_error, *DOCUMENTED], headers=ADMIN)

    check()


def test_no_operation_of_callers_fails(gateway: Gateway) -> None:
    found = operations(gateway, admin=False)
    assert len(found) > 15
    for operation in found:

        @fuzz(6)
        @given(operation.as_strategy(), BODIES)
        def check(case: Any, body: dict[str, Any]) -> None:
            more = {"json": body} if case.method == "POST" else {}
            answer = case.call(headers=ADMIN if case.path == "/metrics" else CALLER, **more)
            case.validate_response(answer, checks=[not_a_server_error])

        check()


def test_admin_operations_are_closed_to_callers(gateway: Gateway) -> None:
    for operation in operations(gateway, admin=True):
        for headers in ({}, CALLER, {"authorization": "Bearer "}):
            answer = send(f"{gateway.root_url}{operation.path}", {}, method=operation.method.upper(), headers=headers)
            assert answer.status == 401, operation.label
