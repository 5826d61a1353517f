"""The choice between deployments of one model: figures, order, probes, and what can never happen."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing import latency
from routing.latency import LatencyBook
from tests.gateway.scripted import deployment


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def called(book: LatencyBook, id: str, ttft_s: float | None = None, tpot_s: float | None = None, is_ok=True) -> None:
    book.began(id)
    book.ended(id, ttft_s=ttft_s, tpot_s=tpot_s, is_ok=is_ok)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> LatencyBook:
    return LatencyBook(clock)


def some(count: int, weight: float = 1.0):
    return [deployment(f"p{n}", "m", weight=weight) for n in range(count)]


def firsts(book: LatencyBook, deployments, draws: int = 2_000, seed: int = 3) -> Counter:
    rng = Random(seed)
    return Counter(book.order(deployments, rng)[0].id for _ in range(draws))


# Figures


def test_a_slower_answer_counts_at_once_and_a_faster_one_by_the_time_passed(book, clock):
    called(book, "a", 1.0)
    called(book, "a", 5.0)
    assert book.ttft_s("a") == 5.0
    called(book, "a", 1.0)
    assert book.ttft_s("a") == 5.0
    clock.now_s += 10.0
    called(book, "a", 1.0)
    assert book.ttft_s("a") == pytest.approx(1.0 + 4.0 * 0.36788, abs=1e-4)


def test_an_answer_is_expected_to_take_its_first_token_and_its_tokens(book):
    called(book, "a", 0.5, 0.01)
    assert book.expected_s("a", 200) == pytest.approx(2.5)
    called(book, "no tokens", 0.5)
    assert book.expected_s("no tokens", 200) == 0.5


def test_nothing_is_expected_of_what_was_never_or_long_not_seen(book, clock):
    assert book.ttft_s("a") is None
    assert book.expected_s("a", 10) is None
    book.began("a")
    assert book.expected_s("a", 10) is None
    book.ended("a", ttft_s=0.5, tpot_s=0.01, is_ok=True)
    clock.now_s += 31.0
    assert book.ttft_s("a") is None
    assert book.expected_s("a", 10) == pytest.approx(0.6)
    clock.now_s += 300.0
    assert book.expected_s("a", 10) is None


def test_the_error_rate_is_of_the_last_seconds(book, clock):
    for is_ok in (True, False, False, False):
        called(book, "a", is_ok=is_ok)
    assert book.snapshot()["a"].error_rate == pytest.approx(3 / 5)
    clock.now_s += 60.0
    assert book.snapshot()["a"].error_rate < 0.01


def test_an_end_that_is_nobodys_fault_is_no_error_and_no_success(book):
    called(book, "a", is_ok=False)
    before = book.snapshot()["a"]
    called(book, "a", is_ok=None)
    assert book.snapshot()["a"] == before


# Order


def test_one_deployment_is_handed_back_as_it_is(book):
    only = some(1)
    assert book.order(only, Random(1)) is only


def test_the_fastest_goes_first_unless_it_is_busy(book):
    fast, slow = deployments = some(2)
    called(book, fast.id, 0.5, 0.01)
    called(book, slow.id, 1.0, 0.02)
    assert firsts(book, deployments) == {fast.id: 2_000}
    for _ in range(2):
        book.began(fast.id)
    assert firsts(book, deployments) == {fast.id: 2_000}
    for _ in range(2):
        book.began(fast.id)
    assert firsts(book, deployments) == {slow.id: 2_000}


def test_errors_weigh_more_than_a_little_speed(book):
    flaky, sound = deployments = some(2)
    for is_ok in (True, True, True, True, False, True):
        called(book, flaky.id, 0.8, is_ok=is_ok)
    called(book, sound.id, 0.9)
    assert firsts(book, deployments) == {sound.id: 2_000}


def test_a_missing_figure_is_taken_from_the_peers(book):
    silent, other = deployments = some(2)
    called(book, silent.id, 1.0)
    called(book, other.id, 0.5, 0.02)
    assert firsts(book, deployments) == {other.id: 2_000}


def test_at_the_start_all_are_equal(book):
    deployments = some(3)
    counts = firsts(book, deployments, 3_000)
    assert all(counts[d.id] == pytest.approx(1_000, abs=120) for d in deployments)
    book.began(deployments[0].id)
    assert deployments[0].id not in firsts(book, deployments)


def test_different_weights_are_shares(book):
    deployments = [deployment("a", "m", weight=3), deployment("b", "m", weight=1), deployment("c", "m", weight=0)]
    called(book, deployments[1].id, 0.001)
    counts = firsts(book, deployments, 4_000)
    assert counts[deployments[0].id] / 4_000 == pytest.approx(0.75, abs=0.03)
    assert deployments[2].id not in counts
    assert firsts(book, deployments[1:]) == {deployments[1].id: 2_000}


def test_weights_are_left_aside_where_speed_was_asked_for(book):
    heavy, fast = deployments = [deployment("a", "m", weight=3), deployment("b", "m", weight=1)]
    called(book, heavy.id, 2.0)
    called(book, fast.id, 1.0)
    rng = Random(1)
    assert {book.order(deployments, rng, by_weight=False)[0].id for _ in range(100)} == {fast.id}


def test_above_five_the_better_of_two_goes_first(book):
    deployments = some(8)
    for n, one in enumerate(deployments):
        called(book, one.id, 1.0 + n)
    counts = firsts(book, deployments, 8_000)
    # The better of two of eight: the best has 7 of 28 pairs, the next 6, and the last none.
    for n, one in enumerate(deployments):
        assert counts[one.id] / 8_000 == pytest.approx((7 - n) / 28, abs=0.03)


# Probes


def test_the_cold_one_is_probed_by_one_call_at_a_time_and_a_small_share(book, clock):
    cold, *warm = deployments = some(3)
    for one in warm:
        called(book, one.id, 1.0)
    counts = firsts(book, deployments, 4_000)
    assert counts[cold.id] / 4_000 == pytest.approx(0.05, abs=0.015)
    book.began(cold.id)
    clock.now_s += 20.0
    assert cold.id not in firsts(book, deployments)
    book.ended(cold.id, ttft_s=0.1, tpot_s=None, is_ok=True)
    assert firsts(book, deployments) == {cold.id: 2_000}


def test_a_slow_one_is_tried_again_when_its_figures_are_old(book, clock):
    slow, fast = deployments = some(2)
    called(book, slow.id, 30.0)
    for _ in range(4):
        called(book, fast.id, 1.0)
        assert slow.id not in firsts(book, deployments)
        clock.now_s += 10.0
    called(book, fast.id, 1.0)
    assert 0 < firsts(book, deployments)[slow.id] < 150


def test_where_calls_are_rare_the_one_that_was_slower_is_still_tried_now_and_then(book, clock):
    slower, faster = deployments = some(2)
    called(book, slower.id, 2.0)
    called(book, faster.id, 1.0)
    clock.now_s += 60.0
    counts = firsts(book, deployments, 4_000)
    assert 0 < counts[slower.id] < 200
    assert counts[faster.id] > 3_800


def test_one_that_fails_is_probed_less_and_less_often(book, clock):
    bad, good = deployments = some(2)
    pauses = []
    for _ in range(6):
        called(book, bad.id, is_ok=False)
        pause_s = 0.0
        while True:
            called(book, good.id, 1.0)
            if bad.id in firsts(book, deployments, 300):
                break
            clock.now_s += 2.5
            pause_s += 2.5
        pauses.append(pause_s)
    assert pauses == sorted(pauses)
    assert pauses[0] <= 7.5
    assert 30.0 < pauses[-1] <= 62.5


@pytest.mark.parametrize("ends", [[True] * 50 + [False, False], [True, False] * 5 + [True]])
def test_it_fails_after_two_errors_in_a_row_or_by_its_rate(book, ends):
    """Its time is far the best, so nothing but a verdict keeps it from the front."""
    bad, good = deployments = some(2)
    for is_ok in ends:
        called(book, bad.id, 0.001, is_ok=is_ok)
    called(book, good.id, 10.0)
    assert bad.id not in firsts(book, deployments)


def test_a_busy_one_whose_answers_take_long_is_not_cold(book, clock):
    busy, other = deployments = some(2)
    called(book, busy.id, 1.0)
    for _ in range(3):
        book.began(busy.id)
    clock.now_s += 40.0
    called(book, other.id, 30.0)
    assert firsts(book, deployments)[busy.id] == 2_000


def test_one_that_recovered_is_back_after_some_probes(book, clock):
    bad, good = deployments = some(2)
    for _ in range(10):
        called(book, bad.id, is_ok=False)
    probes = 0
    while probes < 20:
        probes += 1
        clock.now_s += 3.0
        called(book, good.id, 1.0)
        called(book, bad.id, 0.5)
        if firsts(book, deployments)[bad.id] > 1_000:
            break
    assert 2 <= probes <= 8


def test_where_all_fail_they_are_still_all_tried(book):
    deployments = some(3)
    for one in deployments:
        for _ in range(5):
            called(book, one.id, is_ok=False)
    assert len(firsts(book, deployments)) == 3


# What can never happen


def test_an_end_without_a_beginning_changes_nothing(book):
    book.ended("a", ttft_s=1.0, tpot_s=1.0, is_ok=True)
    assert book.snapshot() == {}
    called(book, "a", 1.0)
    before = book.snapshot()
    book.ended("a", ttft_s=9.0, tpot_s=None, is_ok=False)
    assert book.snapshot() == before


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["began", "ended", "order", "wait"]),
        st.one_of(st.integers(0, 1), st.integers(0, 7)),
        st.sampled_from([None, True, False]),
        st.one_of(st.none(), st.floats(0, 1e4)),
    ),
    max_size=80,
)


@given(events=EVENTS, seed=st.integers())
def test_calls_in_flight_are_exactly_those_that_began_and_did_not_end(events, seed):
    clock, rng = Clock(), Random(seed)
    book = LatencyBook(clock)
    deployments = some(8)
    under_way: Counter = Counter()
    for event, number, is_ok, seconds in events:
        name = deployments[number].id
        if event == "began":
            book.began(name)
            under_way[name] += 1
        elif event == "ended":
            book.ended(name, ttft_s=seconds, tpot_s=seconds, is_ok=is_ok)
            under_way[name] = max(0, under_way[name] - 1)
        elif event == "wait":
            clock.now_s += seconds or 0.0
        else:
            some_of_them = deployments[: number + 1]
            assert sorted(d.id for d in book.order(some_of_them, rng)) == sorted(d.id for d in some_of_them)
    standing = book.snapshot()
    assert {name: one.in_flight for name, one in standing.items()} == {name: under_way[name] for name in standing}
    assert all(0.0 <= one.error_rate < 1.0 for one in standing.values())


def test_what_was_not_used_for_longest_is_forgotten_but_never_a_call_under_way(book, monkeypatch):
    monkeypatch.setattr(latency, "_KEPT", 10)
    book.began("busy")
    called(book, "often", 5.0)
    for n in range(100):
        called(book, f"d{n}", 1.0)
        called(book, "often", 1.0)
    standing = book.snapshot()
    assert len(standing) <= 11
    assert standing["often"].ttft_s == 5.0
    assert standing["busy"].in_flight == 1
    assert "d99" in standing
    assert "d0" not in standing
    book.ended("busy", ttft_s=None, tpot_s=None, is_ok=None)
    assert book.snapshot()["busy"].in_flight == 0
