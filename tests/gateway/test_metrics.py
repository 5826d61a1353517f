"""The series: declared once, fed from outcomes alone, and never more of them than the configuration has names."""

import shutil
import subprocess
from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from gateway.telemetry.ceiling import MAX_SERIES, OTHER
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tally import CounterTally, HistogramTally
from policies.outcome import Attempt, Ending, Outcome
from providers.base import Cause, ErrorKind, Request, Target, Usage
from routing.decision import Decision, Deployment
from tests.gateway.scripted import deployment

A = deployment("a")


def outcome(ending="ok", *, stream=False, model="m", deployment=A, **attempt):
    request = Request("chat", {}, b"", "x", stream=stream, include_usage=False, request_id="r")
    tried = Attempt(deployment, 1.0, 2.0, **attempt)
    found = Outcome(request, "c", 0.5, Decision(model, "direct", (deployment,)), [tried], ended=2.5, upstream_s=1.0)
    found.ending = ending
    if ending in ("ok", "interrupted"):
        found.answered_by = tried
        tried.is_complete = ending == "ok"
    return found


def failed(ending):
    return {} if ending in ("ok", "client_gone", "shutdown", "internal_error") else {
        "kind": ErrorKind.BROKEN, "cause": Cause.RESET}  # fmt: skip


def samples(metrics):
    metrics.flush()
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in metrics.registry.collect()
        for s in family.samples
        if not s.name.endswith("_created")
    }


def test_every_series_is_declared_once_and_has_a_text():
    families = list(Metrics(CollectorRegistry()).registry.collect())
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(name.startswith("signalbox_") for name in names)
    assert all(family.documentation for family in families)


@pytest.mark.parametrize(("ending", "stream"), [*product(get_args(Ending), [False, True])])
def test_every_ending_can_be_recorded(ending, stream):
    metrics = Metrics(CollectorRegistry())
    metrics.record(outcome(ending, stream=stream, usage=Usage(input=5, reasoning=2), **failed(ending)))
    found = samples(metrics)
    flag = str(stream).lower()
    labels = (("model", "m"), ("operation", "chat"), ("outcome", ending), ("stream", flag))
    assert found["signalbox_requests_total", labels] == 1
    total = sum(v for (name, _), v in found.items() if name == "signalbox_attempts_total")
    assert total == 1
    tokens = {dict(labels)["class"]: v for (name, labels), v in found.items() if name == "signalbox_tokens_total" and v}
    assert tokens == {"input": 5, "reasoning": 2}
    assert found["signalbox_unpriced_calls_total", (("deployment", "a/m"), ("provider", "a"))] == 1
    assert "None" not in str(found)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_has_no_complaint():
    metrics = Metrics(CollectorRegistry())
    for ending, stream in product(get_args(Ending), [False, True]):
        metrics.record(outcome(ending, stream=stream, usage=Usage(input=5), ttft_s=0.1, **failed(ending)))
    metrics.record_refusal("chat", "invalid_json")
    metrics.reloads.labels("ok").inc()
    metrics.flush()
    page = generate_latest(metrics.registry)
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_names_that_callers_make_up_create_no_series():
    metrics = Metrics(CollectorRegistry())
    counts = set()
    for number in range(300):
        name = f"p/x{number}\n{{}}\"'"
        made = Deployment(name, "p/*", name, "p", Target(name), None)
        metrics.record(outcome(model="p/*", deployment=made, usage=Usage(input=1)))
        counts.add(len(samples(metrics)))
    assert len(counts) == 1


VALUES = st.lists(st.one_of(st.floats(0, 400), st.sampled_from([0.01, 0.1, 0.5, 1.0, float("inf")])), max_size=20)


def test_a_large_configuration_stays_below_the_ceiling():
    """200 models of 20 providers and 50 budgets, each used in every way: names are given up, and no count is lost."""
    metrics = Metrics(CollectorRegistry())
    for number in range(200):
        made = deployment(f"p{number % 20}", f"m{number}")
        for ending, stream in product(get_args(Ending), [False, True]):
            told = {"usage": Usage(input=5, output=2), **failed(ending)}
            metrics.record(outcome(ending, stream=stream, model=f"m{number}", deployment=made, **told))
        metrics.money.budget(f"b{number % 50}", spent_nusd=1, held_nusd=1, limit_nusd=1)
    found = samples(metrics)
    everything = [sample for family in metrics.registry.collect() for sample in family.samples]
    assert 2000 < len(everything) <= MAX_SERIES
    requests = {labels: value for (name, labels), value in found.items() if name == "signalbox_requests_total"}
    assert sum(requests.values()) == 200 * 2 * len(get_args(Ending))
    names = {dict(labels)["model"] for labels in requests}
    assert OTHER in names
    assert {f"m{number}" for number in range(20)} < names
    counts = [value for (name, _), value in found.items() if name == "signalbox_request_duration_seconds_count"]
    assert sum(counts) == sum(requests.values())


@given(batches=st.lists(VALUES, max_size=4))
def test_a_tally_counts_as_prometheus_client_does(batches):
    registry = CollectorRegistry()
    buckets = (0.01, 0.1, 0.5, 1.0, 10.0)
    by_tally = Histogram("a", "a", buckets=buckets, registry=registry)
    directly = Histogram("b", "b", buckets=buckets, registry=registry)
    counted, counted_directly = Counter("c", "c", registry=registry), Counter("d", "d", registry=registry)
    tally, count = HistogramTally(by_tally), CounterTally(counted)
    for batch in batches:
        for value in batch:
            tally.observe(value)
            directly.observe(value)
            count.amount += 1
            counted_directly.inc()
        tally.flush()
        count.flush()
    found = {s.name[1:] + str(s.labels): s.value for f in registry.collect() for s in f.samples if s.name[0] in "ac"}
    expected = {s.name[1:] + str(s.labels): s.value for f in registry.collect() for s in f.samples if s.name[0] in "bd"}
    found = {name: value for name, value in found.items() if "created" not in name}
    assert found == {name: pytest.approx(value) for name, value in expected.items() if "created" not in name}


def test_nonsense_in_one_series_does_not_end_the_others():
    metrics = Metrics(CollectorRegistry())
    metrics.record(outcome(usage=Usage(input=-5, output=3)))
    assert (
        samples(metrics)["signalbox_tokens_total", (("class", "output"), ("deployment", "a/m"), ("provider", "a"))] == 3
    )
