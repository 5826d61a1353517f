"""A stream that breaks is continued where the configuration wants it; a client cannot tell. Else it ends with an error.

The second provider stands at its own address; it goes on from the prefill, each dialect in its own way.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.setup import KEY, UPSTREAM_SECRET, key_row
from tests.fakes.chaos import HEALTHY, fin, reset, stall
from tests.fakes.gateway import Gateway
from tests.faults.setup import (
    AUTH,
    DIALECTS,
    IDLE_S,
    MID_EVENT,
    TEXT_BEFORE,
    WHOLE_TEXT,
    check_interrupted,
    timed,
)

pytestmark = pytest.mark.e2e
_PATHS = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}
# A reset may overtake what was sent before it, and then nothing was begun: most tests use an end in good order.
_CUT = fin(MID_EVENT)
# Who goes on: kind, path of the address, and a model that is known to take a prefill.
SECONDS = {
    "mistral": ("mistral", "/v1", "mistral-large-latest"),
    "deepseek": ("deepseek", "/beta", "deepseek-chat"),
    "vllm": ("vllm", "/v1", "any-model"),
    "anthropic": ("anthropic", "", "claude-sonnet-4-5-20250929"),
    "gemini": ("gemini", "/v1beta", "gemini-2.5-flash"),
}
# Who does not: both begin a new answer, or refuse.
UNABLE = {"gpt": ("openai", "/v1", "gpt-4.1"), "newer": ("anthropic", "", "claude-sonnet-4-6")}
_LANES = 20


def config(upstream_url, chaos_url):
    quick = {"connect_s": 2, "ttft_s": 5, "idle_s": IDLE_S, "total_s": 15}
    providers = {
        f"broken-{dialect}": {"kind": dialect, "base_url": chaos_url + path, "timeouts": quick}
        for dialect, path in _PATHS.items()
    }
    models = {}
    for name, (kind, path, model) in (SECONDS | UNABLE).items():
        providers[name] = {"kind": kind, "base_url": upstream_url + path}
        models[name] = {"deployments": [{"provider": name, "model": model}]}
    # It is said to go on, but begins again: the client must not have the beginning twice.
    providers["again"] = {"kind": "openai", "base_url": f"{upstream_url}/v1"}
    models["again"] = {"deployments": [{"provider": "again", "model": "again"}], "prefill": True}
    routes = {}
    for dialect in DIALECTS:
        for number in range(_LANES):
            name = f"{dialect}-{number:02}"
            models[name] = {"deployments": [{"provider": f"broken-{dialect}", "model": f"cut-{name}"}]}
            for second in [*SECONDS, *UNABLE, "again"]:
                routes[f"{name}-{second}"] = {"pool": [name, second], "on_stream_cut": "continue"}
            routes[f"{name}-error"] = {"pool": [name, "mistral"]}
            models[f"{name}-able"] = models[name] | {"prefill": True}
            routes[f"{name}-alone"] = {"pool": [f"{name}-able"], "on_stream_cut": "continue"}
    return {
        "providers": {name: row | {"api_key": UPSTREAM_SECRET} for name, row in providers.items()},
        "models": models,
        "routes": routes,
        "keys": [key_row("tester", KEY)],
        "policies": {"timeouts": {"connect_s": 2, "ttft_s": 10, "idle_s": 10, "total_s": 30}},
    }


@pytest.fixture(scope="session")
def _continuing(gateways, _upstream_process, chaos):
    return gateways.get(config(_upstream_process.base_url, chaos.base_url), is_kept=True)


@pytest.fixture
def gateway(_continuing, upstream):
    """One gateway for all: each test has a lane of its own, so that nobody's breaker is anybody else's."""
    return _continuing


@pytest.fixture(scope="session")
def _unused() -> dict[str, Iterator[int]]:
    return {dialect: iter(range(_LANES)) for dialect in DIALECTS}


@pytest.fixture
def cut(chaos, _unused):
    """A model of this dialect that no other test uses, spoilt from now on."""

    def take(dialect, fault):
        name = f"{dialect}-{next(_unused[dialect]):02}"
        chaos.always(f"cut-{name}", fault)
        return name

    return take


def check_whole(gateway: Gateway, answer, text=WHOLE_TEXT):
    """One answer without a seam: nothing in it tells that two made it."""
    assert answer.status == 200, answer.body
    assert answer.text == text
    assert answer.frames[-1] == "data: [DONE]"
    assert len([frame for frame in answer.frames if "[DONE]" in frame]) == 1
    chunks = answer.events
    assert len({(chunk["id"], chunk["model"], chunk["created"]) for chunk in chunks}) == 1
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]
    assert choices[-1]["finish_reason"] == "stop"
    assert sum("role" in choice["delta"] for choice in choices[1:]) == 0
    line = gateway.wait_log(answer.headers["x-request-id"])
    assert (line["outcome"], line.get("continuation")) == ("ok", "ok"), line
    assert len(line["attempts"]) == 2
    return line


@pytest.mark.parametrize("second", SECONDS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_dialect_is_continued_by_each(gateway, upstream, cut, dialect, second):
    name = cut(dialect, _CUT)
    answer, _ = timed(gateway, f"{name}-{second}", stream=True, stream_options={"include_usage": True})
    line = check_whole(gateway, answer)
    assert line["answered_by"].startswith(f"{second}/")
    assert len(upstream.requests(SECONDS[second][2])) == 1
    if second == "mistral":
        return  # it tells its usage unasked, which the fake provider does not
    usage = answer.events[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (line["prompt_tokens"], line["completion_tokens"])
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("fault", [reset(MID_EVENT), stall(MID_EVENT)], ids=["rst", "stall"])
def test_whatever_the_cause_of_the_break(gateway, cut, fault):
    before = gateway.metric("signalbox_continuations_total", outcome="ok")
    answer, _ = timed(gateway, f"{cut('openai', fault)}-mistral", stream=True)
    check_whole(gateway, answer)
    gateway.wait_metric("signalbox_continuations_total", before + 1, outcome="ok")


def test_who_begins_again_is_joined_without_a_repeat(gateway, cut):
    answer, _ = timed(gateway, f"{cut('openai', _CUT)}-again", stream=True)
    check_whole(gateway, answer)


def test_text_of_all_sorts(gateway, cut):
    prompt = "né\u2028 世界 a beta \u0085 🙂 ends  "
    name = cut("openai", fin("世".encode()))
    answer = gateway.chat(f"{name}-gemini", prompt, headers=AUTH, stream=True)
    check_whole(gateway, answer, f"You said: {prompt}")


@pytest.mark.parametrize("is_well_again", [True, False])
def test_the_one_whose_stream_broke_may_go_on_itself(gateway, chaos, cut, is_well_again):
    name = cut("anthropic", HEALTHY if is_well_again else _CUT)
    chaos.script(f"cut-{name}", _CUT)
    answer, _ = timed(gateway, f"{name}-alone", stream=True)
    assert chaos.hits(f"cut-{name}") == 2
    if is_well_again:
        check_whole(gateway, answer)
        return
    check_interrupted(answer)
    assert gateway.wait_log(answer.headers["x-request-id"])["continuation"] == "failed"


@pytest.mark.parametrize("unable", UNABLE)
def test_without_anybody_who_can_it_ends_with_an_error(gateway, upstream, cut, unable):
    name = cut("openai", _CUT)
    before = gateway.metric("signalbox_continuations_total", outcome="no_candidate")
    answer, _ = timed(gateway, f"{name}-{unable}", stream=True)
    check_interrupted(answer)
    gateway.wait_metric("signalbox_continuations_total", before + 1, outcome="no_candidate")
    assert upstream.requests(UNABLE[unable][2]) == []


def test_without_the_setting_it_ends_with_an_error(gateway, upstream, cut):
    answer, _ = timed(gateway, f"{cut('openai', _CUT)}-error", stream=True)
    check_interrupted(answer)
    assert upstream.requests("mistral-large-latest") == []
    assert "continuation" not in gateway.wait_log(answer.headers["x-request-id"])


def test_what_is_more_than_text_ends_with_an_error(gateway, cut):
    answer, _ = timed(gateway, f"{cut('openai', _CUT)}-mistral", stream=True, logprobs=True)
    check_interrupted(answer, TEXT_BEFORE)
    assert gateway.wait_log(answer.headers["x-request-id"])["continuation"] == "unfit"


def test_a_deployment_that_breaks_every_stream_opens_its_breaker(gateway, chaos, cut):
    """Its first tokens are no proof of health: what was begun was not brought to an end."""
    name = cut("gemini", _CUT)
    label = f"broken-gemini/cut-{name}"
    for _ in range(30):
        timed(gateway, f"{name}-mistral", stream=True)
        if gateway.metric("signalbox_breaker_trips_total", deployment=label):
            break
    assert gateway.metric("signalbox_breaker_trips_total", deployment=label) == 1
    asked = chaos.hits(f"cut-{name}")
    assert asked <= 13, "at most twice the failures in a row, and a few"
    answer, _ = timed(gateway, f"{name}-mistral", stream=True)
    assert answer.text == WHOLE_TEXT
    assert chaos.hits(f"cut-{name}") == asked, "it is left alone"
