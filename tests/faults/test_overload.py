"""Row 21: more requests than can be served. Who is served is served well, and who is not is told at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import pytest

from tests.fakes.chaos import latency
from tests.fakes.gateway import ADMIN_KEY, Gateway
from tests.fakes.http import send
from tests.faults.other_apis import of_crowd
from tests.faults.setup import PROMPT, check_failed, matrix_config, timed

pytestmark = pytest.mark.e2e
PLACES, QUEUE = 8, 4
WAIT_S = 0.5
SLACK_S = 1.0  # sixty clients and the gateway share the machine


@pytest.fixture
def small(upstream, chaos):
    """A gateway with few places, in front of a provider that takes a while."""
    config = matrix_config(upstream.base_url, chaos.base_url, upstream.base_url, upstream.base_url)
    config["models"] = {"busy": {"deployments": [{"provider": "patient-openai", "model": "up-busy"}]}}
    config["routes"] = {}
    config["policies"]["overload"] = {"max_in_flight": PLACES, "queue_max": QUEUE, "queue_wait_s": WAIT_S}
    chaos.always("up-busy", latency(0.15))
    with Gateway(config) as gateway:
        yield gateway


def test_row_21_three_times_overload(small, upstream):
    with ThreadPoolExecutor(3 * (PLACES + QUEUE)) as pool:
        is_over = threading.Event()

        def keep_asking(number):
            answers = []
            while not is_over.is_set():
                api = of_crowd(number)
                answer, took_s = api.ask(small, "busy")
                answers.append((api, answer, took_s))
                if answer.status == 429:
                    time.sleep(0.1)  # a client that tried again at once would measure itself
            return answers

        asking = [pool.submit(keep_asking, number) for number in range(3 * (PLACES + QUEUE))]
        control = {path: [] for path in ("/healthz", "/readyz", "/metrics")}
        for path in list(control) * 8:
            began = time.monotonic()
            assert send(f"{small.root_url}{path}", headers={"authorization": f"Bearer {ADMIN_KEY}"}).status == 200
            control[path].append(time.monotonic() - began)
            time.sleep(0.05)
        is_over.set()
        results = [result for future in asking for result in future.result()]
    served = [(api, answer) for api, answer, _ in results if answer.status == 200]
    shed = [(answer, took_s) for _, answer, took_s in results if answer.status != 200]
    assert served
    assert shed
    for api, answer in served:
        api.check_answered(answer)
    for answer, _ in shed:
        assert check_failed(answer, 429)["code"] == "overloaded"
        assert 1 <= int(answer.headers["retry-after"]) <= 5
    assert median(took_s for _, took_s in shed) < WAIT_S + SLACK_S
    assert {path: median(times) < 1 for path, times in control.items()} == dict.fromkeys(control, True)
    small.wait_metric("signalbox_shed_total", len(shed))
    assert small.metric("signalbox_queue_wait_seconds_count") >= 1
    assert len(upstream.requests()) == len(served), "what is refused costs nothing upstream"
    answer, _ = timed(small, "busy", stream=False)
    assert answer.text == f"You said: {PROMPT}", "afterwards there is room as before"
