"""A router file in use: what is taken over, what is not, and what a shadow would have done."""

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numpy")

from routing.features import extract_text
from routing.learned.live import LiveRouter, choose, successor
from tests.fakes.router_file import router_bytes

ASK = extract_text("Prove that the sum of two even numbers is even.")


def live(*args, **more) -> LiveRouter:
    found = LiveRouter.from_bytes(router_bytes(*args, **more))
    assert found.is_ready, found.error
    return found


def test_a_file_becomes_a_router_with_a_version():
    data = router_bytes(rows=400)
    router = LiveRouter.from_bytes(data)
    assert router.is_ready
    assert router.error is None
    assert router.version.endswith("-400")
    assert router.version == LiveRouter.from_bytes(data).version != live(rows=401).version
    quality = router.quality(ASK)
    assert set(quality) == {"a", "b"}
    assert 0 <= quality["a"] < quality["b"] <= 1


@pytest.mark.parametrize("cut", [0, 7, 50, -1])
def test_what_is_no_router_file_is_told_and_predicts_nothing(cut):
    router = LiveRouter.from_bytes(router_bytes()[:cut])
    assert not router.is_ready
    assert router.error
    assert router.quality(ASK) == {}
    assert router.with_shadow(router).shadow_choice(ASK, None, 0.98) is None


@pytest.mark.parametrize(
    "report", [{}, [], {"rows": "many", "figures": []}, {"figures": {"learned": {"apgr": None}}}, {"rows": True}]
)
def test_a_report_may_hold_anything(report):
    router = live(report=report)
    assert router.apgr is None
    assert router.rows > 0


def test_without_numpy_the_extra_is_named():
    program = (
        "import sys; sys.modules['numpy'] = None\n"
        "from routing.learned.live import LiveRouter\n"
        "found = LiveRouter.from_bytes(b'SBXROUTE')\n"
        "assert not found.is_ready; print(found.error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "signalbox-gateway[learned]" in done.stdout


def test_the_module_itself_loads_no_numpy():
    program = "import sys, routing.learned.live; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_broken_file_never_replaces_a_router():
    before = live()
    for is_guarded in (True, False):
        kept = successor(before, LiveRouter.from_bytes(b"nonsense"), is_guarded=is_guarded)
        assert kept.predictor is before.predictor
        assert kept.version == before.version
        assert "not a router file" in kept.error
        assert before.version in kept.error


def test_a_worse_file_is_taken_over_only_where_somebody_asked_for_it():
    before, worse = live(apgr=0.7, rows=400), live(apgr=0.66, rows=401)
    kept = successor(before, worse)
    assert kept.version == before.version
    assert "worse than the one in use (APGR 0.660, 0.700)" in kept.error
    assert successor(before, worse, is_guarded=False) is worse


def test_a_file_worse_than_the_classifier_is_not_taken_over():
    kept = successor(live(apgr=0.5), live(apgr=0.52, classifier=0.6))
    assert "worse than the classifier" in kept.error
    kept = successor(live(apgr=0.5), live(report={}))
    assert "no figures" in kept.error


def test_chance_is_no_reason_and_neither_is_a_first_file():
    before, new = live(apgr=0.7, rows=100), live(apgr=0.69, rows=101)
    assert successor(before, new) is new
    assert successor(None, live(apgr=0.56)).is_ready
    assert successor(LiveRouter.unusable("there is none"), new) is new


def test_a_first_file_has_to_be_better_than_no_file():
    refused = successor(None, live(apgr=0.3))
    assert not refused.is_ready
    assert "worse than the classifier" in refused.error
    assert successor(None, live(apgr=0.3), is_guarded=False).is_ready


def test_what_works_again_is_told_no_longer():
    before = live()
    kept = successor(before, LiveRouter.from_bytes(b""))
    assert kept.error is not None
    assert successor(kept, live()).error is None
    missing = successor(None, LiveRouter.unusable("there is no file x.router"))
    assert missing.error == "there is no file x.router"


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 10_000))
def test_a_guarded_successor_is_never_worse_by_more_than_chance(before_apgr, new_apgr, rows):
    before = replace(live_once(), apgr=before_apgr)
    new = replace(live_once(), apgr=new_apgr, rows=rows, version="other", classifier_apgr=None)
    taken = successor(before, new) is new
    assert taken == (new_apgr >= before_apgr - 0.2 / rows**0.5)


_ONCE: list[LiveRouter] = []


def live_once() -> LiveRouter:
    if not _ONCE:
        _ONCE.append(live())
    return _ONCE[0]


def test_a_shadow_says_what_it_would_have_chosen():
    both = live((0.5, 0.9)).with_shadow(live((0.9, 0.89), costs={"a": 1.0, "b": 0.1}))
    assert both.shadow_choice(ASK, None, 0.999) == "a"
    assert both.shadow_choice(ASK, None, 0.9) == "b", "nearly as good, and cheaper by what it was trained with"
    assert both.shadow_choice(ASK, None, 0.9, {"a": 1, "b": 10}) == "a", "cheaper by what is expected now"
    assert both.shadow_choice(ASK, None, 0.9, {"z": 1}) is None
    assert live().shadow_choice(ASK, None, 0.9) is None


@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1), min_size=1),
    st.dictionaries(st.sampled_from("abcde"), st.floats(0, 10)),
    st.floats(0, 1),
)
def test_the_choice_is_good_enough_and_none_that_is_costs_less(quality, costs, goal):
    chosen = choose(quality, costs, goal)
    candidates = quality.keys() & costs.keys() if costs else quality.keys()
    if not candidates:
        assert chosen is None
        return
    assert chosen in candidates
    enough = goal * max(quality[name] for name in candidates)
    assert quality[chosen] >= enough
    if costs:
        assert all(costs[chosen] <= costs[name] for name in candidates if quality[name] >= enough)
