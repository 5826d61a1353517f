"""What is never answered by meaning, and what has to be equal of two requests that are compared."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cache.semantic.fit import Unfit, fingerprint, last_text, unfit_text
from policies.cache.semantic.settings import SemanticSettings
from policies.cache.semantic.text import analyse

SETTINGS = SemanticSettings()
TEXT = "What is the capital of Kenya?"
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def _body(*messages, **more):
    turns = [{"role": "user", "content": one} if isinstance(one, str) else one for one in messages or (TEXT,)]
    return {"messages": turns} | more


def _why(body, operation="chat", settings=SETTINGS):
    said = last_text(operation, body, settings)
    return said if isinstance(said, Unfit) else unfit_text(analyse(said), settings, body)


NEVER = {
    "embeddings": (Unfit.OPERATION, _body(), "embeddings"),
    "completions": (Unfit.OPERATION, {"prompt": TEXT}, "completions"),
    "tools": (Unfit.TOOLS, _body(tools=[{"type": "function", "function": {"name": "f"}}])),
    "functions": (Unfit.TOOLS, _body(functions=[{"name": "f"}])),
    "a call in the history": (Unfit.TOOLS, _body("a", {"role": "assistant", "tool_calls": [CALL]}, TEXT)),
    "a tool's answer": (Unfit.TOOLS, _body("a", {"role": "tool", "tool_call_id": "c", "content": "1"}, TEXT)),
    "several": (Unfit.SEVERAL, _body(n=2)),
    "logprobs": (Unfit.LOGPROBS, _body(logprobs=True)),
    "top logprobs": (Unfit.LOGPROBS, _body(top_logprobs=2)),
    "a warm wish": (Unfit.TEMPERATURE, _body(temperature=0.31)),
    "an odd wish": (Unfit.TEMPERATURE, _body(temperature="cold")),
    "an image": (Unfit.MEDIA, _body({"role": "user", "content": [{"type": "text", "text": TEXT}, IMAGE]})),
    "an image before": (Unfit.MEDIA, _body({"role": "user", "content": [IMAGE]}, TEXT)),
    "spoken answers": (Unfit.MEDIA, _body(modalities=["text", "audio"])),
    "a long conversation": (Unfit.TURNS, _body("a", "b", "c", TEXT)),
    "nobody's turn": (Unfit.NOT_A_USER, _body(TEXT, {"role": "assistant", "content": "Nai"})),
    "no messages": (Unfit.NOT_A_USER, {}),
    "a text to work on": (Unfit.ABOUT_TEXT, _body({"role": "system", "content": "Translate into Dutch."}, TEXT)),
    "a wish about a text": (Unfit.ABOUT_TEXT, _body("Proofread this: we was there")),
    "a long text": (Unfit.LENGTH, _body("capital " * 100)),
    "nothing": (Unfit.LENGTH, _body("")),
    "another language": (
        Unfit.LANGUAGE,
        _body("\u0643\u0645 \u0639\u062f\u062f \u0633\u0643\u0627\u0646 \u0643\u064a\u0646\u064a\u0627"),
    ),
    "the time": (Unfit.TIME, _body("What is the weather in Nairobi today?")),
    "the asker": (Unfit.PERSONAL, _body("What is the balance of my account?")),
    "an asker with no name": (Unfit.PERSONAL, _body("Where is my order?", user="")),
}


def test_what_is_on_the_list_is_never_answered_by_meaning():
    wrong = {name: found for name, (why, *case) in NEVER.items() if (found := _why(*case)) is not why}
    assert wrong == {}
    assert {why for why, *_ in NEVER.values()} == set(Unfit) - {Unfit.OFF}, "every reason has a case"


def test_what_is_not_on_it_may_be():
    fine = {
        "nothing else said": _body(),
        "a cool wish": _body(temperature=0.3),
        "parts": _body({"role": "user", "content": [{"type": "text", "text": TEXT}]}),
        "a short conversation": _body("Hello", {"role": "assistant", "content": "Hello!"}, TEXT),
        "one answer": _body(n=1, logprobs=False, tools=[], modalities=["text"]),
        "the asker is named": _body("What is the balance of my account?", user="u-1"),
        "the asker has another name": _body("Where is my order?", safety_identifier="u-1"),
        "how something is done": _body("How do I reset my password?"),
    }
    assert {name: why for name, body in fine.items() if (why := _why(body)) is not None} == {}
    soon = replace(SETTINGS, ttl_s=120.0)
    assert _why(_body("What is the weather in Nairobi today?"), settings=soon) is None
    assert _why(_body(temperature=1), settings=replace(SETTINGS, max_temperature=1.0)) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("role", "content", "type", "text")), inner)
    ),
    max_leaves=6,
)
_FIELDS = ("messages", "tools", "n", "temperature", "modalities", "logprobs", "audio", "user")


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(_FIELDS), _JSON | st.lists(_JSON, max_size=3)))
def test_no_body_is_too_odd_to_be_judged(body):
    assert isinstance(last_text("chat", body, SETTINGS), str)


def _print(text=TEXT, name="m", partition="key:a", more=None, salt=b"", **body):
    return fingerprint(name, _body(*body.pop("before", ()), text, **body), partition, more or {}, analyse(text), salt)


def test_everything_but_the_text_has_to_be_equal():
    assert _print() == _print("Kenya's capital?") == _print(user="somebody", stream=True, temperature=1)
    system = {"role": "system", "content": "Answer in verse."}
    others = {
        "a key": _print(partition="key:b"),
        "a group": _print(partition="group:a"),
        "a model": _print(name="n"),
        "the models of the key": _print(more={"models": ["m"]}),
        "an embedder": _print(salt=b"e"),
        "a system prompt": _print(before=(system,)),
        "another one": _print(before=({**system, "content": "Answer in prose."},)),
        "a history": _print(before=("Hello", {"role": "assistant", "content": "Hello!"})),
        "a schema": _print(response_format={"type": "json_object"}),
        "sampling": _print(top_p=0.5),
        "temperature": _print(temperature=0),
        "a limit": _print(max_tokens=5),
        "what nobody knows yet": _print(novelty=1),
    }
    assert len({_print(), *others.values()}) == len(others) + 1
    mine = "What is the balance of my account?"
    assert _print(mine, user="u-1") == _print("How much is on my account?", user="u-1") != _print(mine, user="u-2")
