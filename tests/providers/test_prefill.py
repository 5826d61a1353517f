"""Which models are known to go on with an answer, and that what is not known counts as no."""

import pytest

from providers.prefill import Prefill, prefill_of

KNOWN = [
    ("anthropic", "claude-3-5-haiku-20241022", Prefill.TURN),
    ("anthropic", "claude-3-7-sonnet-latest", Prefill.TURN),
    ("anthropic", "claude-opus-4-20250514", Prefill.TURN),
    ("anthropic", "claude-opus-4-1-20250805", Prefill.TURN),
    ("anthropic", "claude-sonnet-4-0", Prefill.TURN),
    ("anthropic", "claude-sonnet-4-5", Prefill.TURN),
    ("anthropic", "claude-haiku-4-5-20251001", Prefill.TURN),
    ("anthropic", "claude-opus-4-6", None),
    ("anthropic", "claude-sonnet-4-6-20260217", None),
    ("anthropic", "claude-opus-4-7", None),
    ("anthropic", "claude-sonnet-5", None),
    ("anthropic", "claude-fable-5", None),
    ("gemini", "gemini-2.0-flash", Prefill.TURN),
    ("gemini", "gemini-2.5-pro", Prefill.TURN),
    ("gemini", "models/gemini-2.5-flash", Prefill.TURN),
    ("gemini", "gemini-3-flash-preview", Prefill.TURN),
    ("gemini", "gemini-3.1-flash-lite", Prefill.TURN),
    ("gemini", "gemini-3.5-flash-lite", None),
    ("gemini", "gemini-3.6-flash", None),
    ("gemini", "gemini-flash-latest", None),
    ("mistral", "mistral-large-latest", Prefill.PREFIX),
    ("deepseek", "deepseek-chat", None),
    ("vllm", "anything", Prefill.FINAL),
    ("openai_compatible", "anything", None),
    ("openai", "gpt-4.1", None),
    ("azure", "gpt-4.1", None),
    ("mock", "mock", None),
]


@pytest.mark.parametrize(("kind", "model", "form"), KNOWN)
def test_what_is_known(kind, model, form):
    assert prefill_of(kind, model) is form
    assert prefill_of(kind, model, stated=False) is None
    assert prefill_of(kind, model, stated=True) is not None


@pytest.mark.parametrize(
    ("base_url", "form"),
    [
        ("https://api.deepseek.com/beta", Prefill.PREFIX),
        ("https://api.deepseek.com/beta/", Prefill.PREFIX),
        ("https://api.deepseek.com/v1", None),
        ("https://beta.example.com", None),
        (None, None),
    ],
)
def test_deepseek_takes_it_at_one_address_only(base_url, form):
    assert prefill_of("deepseek", "deepseek-chat", base_url) is form


def test_the_form_where_the_operator_says_so():
    assert prefill_of("openai_compatible", "m", stated=True) is Prefill.FINAL
    assert prefill_of("deepseek", "m", stated=True) is Prefill.PREFIX
    assert prefill_of("openrouter", "m", stated=True) is Prefill.TURN
