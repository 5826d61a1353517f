"""Rows 1 to 5: the provider fails before anything of its answer can be used. Nobody notices, or everybody is told."""

import pytest

from tests.fakes.chaos import HEAD_END, fin, reset, stall
from tests.fakes.promptness import typical
from tests.fakes.script import error
from tests.faults.setup import CONNECT_S, TOTAL_S, TTFT_S, check_answered, check_failed, timed

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
SLACK_S = 0.5  # what may be added to a limit, beside the time of a healthy call


def fallback_time(gateway, take, kind, stream):
    """Seconds of one call whose first candidate fails; it is checked that the second one answers."""

    def once():
        lane = take(kind)
        answer, took_s = timed(gateway, lane.route, stream=stream)
        check_answered(answer, "good/good")
        gateway.wait_metric("signalbox_attempts_total", 1, deployment=lane.deployment, outcome="connect")
        gateway.wait_metric("signalbox_fallbacks_total", 1, model=lane.route)
        return took_s

    return once


def test_row_01_connect_refused(gateway, upstream, lane, stream):
    bar_s = SLACK_S
    assert typical(fallback_time(gateway, lane, "refused", stream), bar_s) < bar_s


def test_row_02_syn_drop(gateway, upstream, lane, stream):
    bar_s = CONNECT_S + SLACK_S
    took_s = typical(fallback_time(gateway, lane, "dropped", stream), bar_s)
    assert CONNECT_S * 0.9 < took_s < bar_s, "faster than the limit it would have been refused"


@only("fault", [reset(), fin()], ids=["rst", "fin"])
@only("kind", ["openai", "anthropic", "gemini"])
def test_row_03_reset_before_headers(gateway, upstream, chaos, lane, stream, kind, fault):
    """One good answer, and one only: what the dead call had said is not in it."""
    own = lane(kind)
    chaos.always(own.upstream_model, fault)
    answer, _ = timed(gateway, own.route, stream=stream)
    check_answered(answer, "good/good")
    assert chaos.hits(own.upstream_model) >= 1
    assert len(upstream.requests("good")) == 1
    gateway.wait_metric("signalbox_attempts_total", 1, deployment=own.deployment, outcome="reset")


@only("fault", [reset(HEAD_END), fin(HEAD_END)], ids=["rst", "fin"])
def test_row_03_reset_behind_headers(gateway, upstream, chaos, lane, stream, fault):
    """A head is no content yet."""
    own = lane()
    chaos.always(own.upstream_model, fault)
    answer, _ = timed(gateway, own.route, stream=stream)
    check_answered(answer, "good/good")
    gateway.wait_metric("signalbox_fallbacks_total", 1, model=own.route)


@only("fault", [stall(), stall(HEAD_END)], ids=["no-head", "no-body"])
def test_row_04_no_first_byte(gateway, upstream, chaos, lane, stream, fault):
    """A whole answer is given half of the time there is, because it comes at once or not at all."""
    bar_s = (TTFT_S if stream else TOTAL_S / 2) + SLACK_S

    def once():
        own = lane()
        chaos.always(own.upstream_model, fault)
        answer, took_s = timed(gateway, own.route, stream=stream)
        check_answered(answer, "good/good")
        chaos.wait_over(own.upstream_model)
        assert gateway.wait_metric("signalbox_attempts_total", 1, deployment=own.deployment, outcome="ttft") >= 1
        return took_s

    assert typical(once, bar_s) < bar_s


STATUSES = {500: 502, 502: 502, 503: 503, 529: 503, 408: 503, 401: 502}


@only("status", STATUSES)
def test_row_05_error_status(gateway, upstream, lane, stream, status):
    own = lane()
    upstream.always(own.upstream_model, error(status, "not now", type_="server_error"))
    answer, _ = timed(gateway, own.route, stream=stream)
    check_answered(answer, "good/good")
    assert gateway.wait_metric("signalbox_attempts_total", 1, deployment=own.deployment, outcome="status") >= 1


@only("status", STATUSES)
def test_row_05_error_status_of_the_only_candidate(gateway, upstream, lane, stream, status):
    """Never a 200 with an empty stream."""
    own = lane()
    upstream.always(own.upstream_model, error(status, "not now", type_="server_error"))
    answer, _ = timed(gateway, own.sole, stream=stream)
    attempts = check_failed(answer, STATUSES[status])["attempts"]
    assert {one["status"] for one in attempts} == {status}
    assert upstream.requests("good") == []
