"""Row 9: a provider that only keeps the connection alive does not answer."""

from dataclasses import replace

import pytest

from tests.fakes.dialects.choose import answer as usual
from tests.fakes.promptness import typical
from tests.fakes.script import Pause
from tests.faults.setup import DIALECTS, IDLE_S, MID_EVENT, check_interrupted, timed

pytestmark = pytest.mark.e2e
only = pytest.mark.parametrize
SLACK_S = 0.5
PINGS = {
    "openai": b": keep-alive\n\n",
    "anthropic": b'event: ping\ndata: {"type": "ping"}\n\n',
    "gemini": b": keep-alive\r\n\r\n",
}


@only("kind", DIALECTS)
def test_row_09_stall_behind_keep_alives(gateway, upstream, lane, kind):
    """Comments and pings are no life: the limit between two pieces of content passes as if they had not come."""
    bar_s = IDLE_S + SLACK_S

    def half_then_pings(request):
        script = usual(request)
        steps = list(script.steps)
        half = next(i for i, step in enumerate(steps) if isinstance(step, bytes) and MID_EVENT in step)
        pings = [step for _ in range(100) for step in (Pause(0.1), PINGS[kind])]
        return replace(script, steps=(*steps[:half], *pings))

    def once():
        own = lane(kind)
        upstream.always(own.upstream_model, half_then_pings)
        before = gateway.metric("signalbox_midstream_errors_total", cause="idle")
        answer, took_s = timed(gateway, own.route, stream=True)
        check_interrupted(answer)
        gateway.wait_metric("signalbox_midstream_errors_total", before + 1, timeout_s=5, cause="idle")
        upstream.requests(own.upstream_model)[0].wait_closed()
        return took_s

    assert typical(once, bar_s) < bar_s
