"""Whether a conversation stays at its model: up on evidence, down only where the lost prompt cache is repaid."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Target, Usage
from providers.pricing import Price, Rates
from routing.affinity import AffinityBook, Option, Stay, is_repaid, option_for, stay_or_move, turns_ahead_of
from routing.decision import Deployment

_USD = 1_000_000_000


def price(base, output, read=None, write=None):
    """In dollars per million tokens."""
    base, output = round(base * _USD), round(output * _USD)
    read = base if read is None else round(read * _USD)
    write = base if write is None else round(write * _USD)
    return Price(Rates(base, output, read, write, 2 * write, base, base, output, output, output))


LARGE = price(3, 15, read=0.3, write=3.75)
MIDDLE = price(1.25, 10, read=0.125)
SMALL = price(0.25, 2, read=0.025)


def deployment(name, priced):
    return Deployment(f"p/{name}", f"p/{name}", name, "p", Target(name), priced)


def stay(turns=3, moves=0, prefix_tokens=0):
    return Stay("a", "p/a", None, prefix_tokens, turns, 0.0, 0.0, moves)


def option(name, quality=0.5, cost=100, cached=10, model=None, latency_s=None):
    return Option(f"p/{name}", model or name, quality, cost, cached, latency_s)


# Evidence.


def test_it_moves_up_when_quality_to_gain_is_evident():
    assert not stay_or_move(stay(), option("b", 0.6, cost=9_999, cached=999), option("a", 0.5))
    assert not stay_or_move(stay(), option("b", 0.6, cost=9_999), option("a", 0.5), confidence=0.9)


def test_a_gain_within_the_noise_is_no_evidence():
    assert stay_or_move(stay(), option("b", 0.51, cost=9_999), option("a", 0.5))


def test_an_unsure_classifier_moves_nothing():
    dear = option("a", 0.5, cost=9_999, cached=9_999)
    assert stay_or_move(stay(), option("b", 0.9), dear, confidence=0.4)
    assert stay_or_move(stay(), option("b", 0.1), dear, confidence=0.4)
    assert not stay_or_move(stay(), option("b", 0.1), dear, confidence=0.6)


def test_a_result_of_a_tool_goes_to_who_called_it():
    assert stay_or_move(stay(), option("b", 1.0, 0, 0), option("a", 0.0, 999, 999), is_tool_result=True)


def test_nobody_stays_where_nobody_can_answer():
    assert not stay_or_move(stay(), option("b", 0.0, 999, 999), None, is_tool_result=True)


def test_equal_places_are_no_reason_to_move():
    assert stay_or_move(stay(), option("b"), option("a"))
    assert stay_or_move(stay(), option("b", cost=0, cached=0), option("a", cost=0, cached=0))


# Deployments of one model.


def test_without_a_cache_any_deployment_of_the_model_will_do():
    here, there = option("a", model="m"), option("b", model="m")
    assert not stay_or_move(stay(), there, here, confidence=0.1)
    assert stay_or_move(stay(prefix_tokens=5_000), there, here)
    assert stay_or_move(stay(), there, here, is_tool_result=True)


def test_a_deployment_in_a_slow_phase_is_left():
    for seconds, stays in ((2.0, True), (6.0, True), (7.0, False), (None, True)):
        here, there = option("a", model="m", latency_s=seconds), option("b", model="m", latency_s=2.0)
        assert stay_or_move(stay(prefix_tokens=5_000), there, here) is stays


def test_a_slower_model_is_no_slow_phase():
    here, there = option("a", latency_s=60.0), option("b", latency_s=2.0)
    assert stay_or_move(stay(prefix_tokens=5_000), there, here)


# Repayment.


def test_a_small_saving_does_not_repay_the_cache():
    here = option("a", cost=20, cached=20)  # warm
    assert stay_or_move(stay(), option("b", 0.5, cost=150, cached=10), here, turns_ahead=3)
    assert not stay_or_move(stay(), option("b", 0.5, cost=20, cached=10), here, turns_ahead=3)


def test_a_saving_of_less_than_a_tenth_moves_nothing():
    here = option("a", cost=100, cached=100)
    assert stay_or_move(stay(), option("b", cost=91, cached=91), here)
    assert not stay_or_move(stay(), option("b", cost=89, cached=89), here)


def test_a_price_that_nobody_knows_repays_nothing():
    assert stay_or_move(stay(), option("b", cost=None, cached=None), option("a", cost=9_999, cached=9_999))
    assert stay_or_move(stay(), option("b"), option("a", cost=None, cached=None))


# The table of docs/explanation/stickiness.md: a prompt of 50,000 tokens in the cache, answers of 300.
@pytest.mark.parametrize(
    ("here", "there", "repaid_from"),
    [(LARGE, SMALL, 0), (MIDDLE, SMALL, 1), (LARGE, MIDDLE, 6), (SMALL, LARGE, None)],
)
def test_from_how_many_turns_ahead_a_move_is_repaid(here, there, repaid_from):
    tokens = {"prompt_tokens": 50_000, "output_tokens": 300}
    current = option_for(deployment("a", here), 0.5, prefix_tokens=50_000, **tokens)
    proposed = option_for(deployment("b", there), 0.5, **tokens)
    repaid = [turns for turns in range(9) if is_repaid(proposed, current, turns)]
    assert repaid == ([] if repaid_from is None else list(range(repaid_from, 9)))


def test_the_longer_a_conversation_the_more_turns_are_expected():
    assert [turns_ahead_of(stay(turns)) for turns in (0, 1, 5, 8, 100)] == [1, 1, 5, 8, 8]


def test_a_conversation_that_moved_is_not_trusted_to_stay_for_long():
    assert [turns_ahead_of(stay(8, moves)) for moves in (0, 1, 3, 50)] == [8, 4, 2, 1]


# Options.


def test_what_is_in_the_cache_costs_less_and_writing_it_costs_more():
    tokens = {"prompt_tokens": 10_000, "output_tokens": 0}
    warm = option_for(deployment("a", LARGE), 0.5, prefix_tokens=8_000, **tokens)
    cold = option_for(deployment("a", LARGE), 0.5, **tokens)
    assert warm.cost_nusd == (8_000 * 300 + 2_000 * 3_750)
    assert cold.cost_nusd == 10_000 * 3_750
    assert warm.cost_cached_nusd == cold.cost_cached_nusd == 10_000 * 300


def test_without_a_cache_every_turn_costs_the_same():
    for more in ({"prompt_tokens": 10_000, "has_caching": False}, {"prompt_tokens": 900}):
        found = option_for(deployment("a", LARGE), 0.5, output_tokens=10, **more)
        assert found.cost_nusd == found.cost_cached_nusd == more["prompt_tokens"] * 3_000 + 10 * 15_000


def test_without_a_price_there_are_no_costs():
    found = option_for(deployment("a", None), 0.5, prompt_tokens=10_000, output_tokens=10)
    assert (found.cost_nusd, found.cost_cached_nusd) == (None, None)


# Properties.

PRICES = st.builds(
    lambda base, output, read, write: price(base, output, base * read, base * write),
    st.floats(0, 20),
    st.floats(0, 80),
    st.floats(0, 1),
    st.floats(1, 2),
)
TOKENS = st.integers(0, 300_000)
OUTPUT = st.integers(0, 20_000)
QUALITY = st.floats(0, 1)
CONFIDENCE = st.none() | st.floats(0, 1)


@given(
    here=PRICES, there=PRICES, tokens=TOKENS, output=OUTPUT, shares=st.tuples(QUALITY, QUALITY), turns=st.floats(0, 9)
)
def test_the_more_is_cached_here_the_more_it_stays(here, there, tokens, output, shares, turns):
    proposed = option_for(deployment("b", there), 0.5, prompt_tokens=tokens, output_tokens=output)
    stays = [
        stay_or_move(
            stay(),
            proposed,
            option_for(
                deployment("a", here),
                0.5,
                prompt_tokens=tokens,
                output_tokens=output,
                prefix_tokens=round(tokens * share),
            ),
            turns_ahead=turns,
        )
        for share in sorted(shares)
    ]
    assert stays[0] <= stays[1]


@given(a=st.tuples(PRICES, QUALITY), b=st.tuples(PRICES, QUALITY), tokens=TOKENS, output=OUTPUT, confidence=CONFIDENCE)
def test_a_result_of_a_tool_never_moves(a, b, tokens, output, confidence):
    here, there = (
        option_for(deployment(name, priced), quality, prompt_tokens=tokens, output_tokens=output)
        for name, (priced, quality) in (("a", a), ("b", b))
    )
    assert stay_or_move(stay(), there, here, is_tool_result=True, confidence=confidence)


def play(deployments, proposals, *, tokens, output, grows, confidence=None):
    """Where each turn of a conversation goes, when the strategy proposes these; answers come at once."""
    now = [0.0]
    book = AffinityBook(lambda: now[0])
    went = []
    for proposal in proposals:
        found = book.get(b"1")
        chosen = proposal
        if found is not None:
            options = {
                name: option_for(
                    one,
                    quality,
                    prompt_tokens=tokens,
                    output_tokens=output,
                    prefix_tokens=found.prefix_tokens if found.model == name else 0,
                )
                for name, (one, quality) in deployments.items()
            }
            if stay_or_move(found, options[proposal], options[found.model], confidence=confidence):
                chosen = found.model
        cached = found.prefix_tokens if found is not None and found.model == chosen else 0
        usage = answered(deployments[chosen][0], tokens - min(cached, tokens), min(cached, tokens), output)
        book.note(b"1", deployments[chosen][0], None, usage)
        went.append(chosen)
        tokens += grows
        now[0] += 20.0
    return went


def answered(by, fresh, read, output):
    """Who charges for writes to the cache tells them."""
    rates = by.price.rates
    if rates.cache_write_5m != rates.input:
        return Usage(cache_write_5m=fresh, cache_read=read, output=output)
    return Usage(input=fresh, cache_read=read, output=output)


def moves(went):
    return sum(a != b for a, b in pairwise(went))


@given(
    a=st.tuples(PRICES, QUALITY),
    b=st.tuples(PRICES, QUALITY),
    tokens=st.integers(1, 200_000),
    output=OUTPUT,
    grows=st.integers(0, 3_000),
    confidence=CONFIDENCE,
)
def test_a_steady_proposal_is_followed_once_or_never(a, b, tokens, output, grows, confidence):
    deployments = {"a": (deployment("a", a[0]), a[1]), "b": (deployment("b", b[0]), b[1])}
    more = {"tokens": tokens, "output": output, "grows": grows, "confidence": confidence}
    assert moves(play(deployments, ["a", *["b"] * 20], **more)) <= 1


@given(a=PRICES, b=PRICES, quality=QUALITY, tokens=st.integers(1_024, 200_000), output=OUTPUT, seed=st.randoms())
def test_equally_good_models_do_not_alternate_whatever_is_proposed(a, b, quality, tokens, output, seed):
    deployments = {"a": (deployment("a", a), quality), "b": (deployment("b", b), quality)}
    proposals = [seed.choice("ab") for _ in range(20)]
    assert moves(play(deployments, proposals, tokens=tokens, output=output, grows=0)) <= 1


def test_hard_and_easy_turns_in_turns_do_not_move_a_conversation_each_time():
    deployments = {"a": (deployment("a", MIDDLE), 0.5), "b": (deployment("b", LARGE), 0.8)}
    went = play(deployments, "ab" * 10, tokens=50_000, output=300, grows=500, confidence=0.9)
    assert went[1] == went[-1] == "b"
    assert moves(went) <= 3


def test_a_cache_that_has_expired_holds_nobody_back():
    tokens = {"prompt_tokens": 50_000, "output_tokens": 300}
    there = option_for(deployment("b", MIDDLE), 0.5, **tokens)
    warm, cold = (option_for(deployment("a", LARGE), 0.5, prefix_tokens=held, **tokens) for held in (50_000, 0))
    assert stay_or_move(stay(turns=2), there, warm)
    assert not stay_or_move(stay(turns=2), there, cold)
