"""Rows 6 to 10: the provider fails, or is slow, while it answers. A stream never ends silently."""

import time

import pytest

from tests.fakes.chaos import bandwidth, fin, latency, reset, slices, stall
from tests.fakes.promptness import typical
from tests.faults.setup import AUTH, DIALECTS, IDLE_S, MID_EVENT, TEXT_BEFORE, check_answered, check_interrupted, timed

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
SLACK_S = 0.5


def broken(gateway, cause, ask):
    """What `ask` gets is an interrupted stream, counted under this cause."""
    before = gateway.metric("signalbox_midstream_errors_total", cause=cause)
    answer, took_s = ask()
    check_interrupted(answer)
    gateway.wait_metric("signalbox_midstream_errors_total", before + 1, cause=cause)
    return took_s


@only("kind", DIALECTS)
@only("fault", [reset(MID_EVENT)], ids=["rst"])
def test_row_06_reset_mid_stream(gateway, upstream, chaos, lane, kind, fault):
    own = lane(kind)
    chaos.always(own.upstream_model, fault)
    broken(gateway, "reset", lambda: timed(gateway, own.route, stream=True))
    assert upstream.requests("good") == [], "after the first byte nobody else may answer"


@only("kind", DIALECTS)
def test_row_07_truncated_chunked_body(gateway, upstream, chaos, lane, kind):
    own = lane(kind)
    chaos.always(own.upstream_model, fin(MID_EVENT))
    broken(gateway, "reset", lambda: timed(gateway, own.route, stream=True))
    assert upstream.requests("good") == []


@only("kind", DIALECTS)
@only("fault", [reset(MID_EVENT), fin(MID_EVENT), stall(MID_EVENT)], ids=["rst", "truncated", "stall"])
def test_row_06_broken_whole_answer(gateway, upstream, chaos, lane, kind, fault):
    """Half of a whole answer commits to nothing: the next candidate gives all of it."""
    own = lane(kind)
    chaos.always(own.upstream_model, fault)
    answer, _ = timed(gateway, own.route, stream=False)
    check_answered(answer, "good/good")


@only("kind", DIALECTS)
def test_row_08_stall_mid_stream(gateway, upstream, chaos, lane, kind):
    bar_s = IDLE_S + SLACK_S

    def once():
        own = lane(kind)
        chaos.always(own.upstream_model, stall(MID_EVENT))
        took_s = broken(gateway, "idle", lambda: timed(gateway, own.route, stream=True))
        chaos.wait_over(own.upstream_model)
        return took_s

    assert typical(once, bar_s) < bar_s


SLOW = {"1-byte": slices(1), "drip": slices(40, 0.005), "late": latency(0.3), "20-kB-per-s": bandwidth(20_000)}
HARD_TEXT = "né\u2028 世界 \u0085 🙂 ends"


@only("kind", DIALECTS)
@only("name", SLOW)
def test_row_10_slices_latency_bandwidth(gateway, upstream, chaos, lane, stream, kind, name):
    own = lane(f"patient-{kind}")
    chaos.always(own.upstream_model, SLOW[name])
    began = time.monotonic()
    slow = gateway.chat(own.route, HARD_TEXT, headers=AUTH, stream=stream)
    took_s = time.monotonic() - began
    check_answered(slow, own.deployment, f"You said: {HARD_TEXT}")
    # A clock may tick in 20 ms.
    assert took_s > SLOW[name].latency_s - 0.05, "the fault did not happen"
    assert chaos.hits(own.upstream_model) == 1
    assert len(upstream.requests()) == 1


def test_the_marker_of_these_tests_tears_an_event(gateway, upstream, chaos, lane):
    """The text that is left over is a fact about the fake provider; were it to change, the rows would prove nothing."""
    answer, _ = timed(gateway, lane().route, stream=True)
    assert TEXT_BEFORE in {
        "".join(c["delta"].get("content") or "" for event in answer.events[:n] for c in event["choices"])
        for n in range(len(answer.events))
    }
