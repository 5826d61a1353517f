"""The retry budget and the pauses, against simple models."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from policies.retry import (
    CAP_TOKENS,
    CAP_UNTRIED,
    LONGEST_HINT_S,
    START_TOKENS,
    START_UNTRIED,
    Retries,
    RetryBudget,
    RetryRules,
)


class BudgetMachine(RuleBasedStateMachine):
    """Whole fifths of a token: a model without rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = RetryBudget()
        self.fifths = round(START_TOKENS * 5)
        self.taken = self.answered = 0

    @rule()
    def answer(self) -> None:
        if self.budget.tokens < CAP_TOKENS:
            self.budget.tokens += 0.2
        self.answered += 1
        if self.fifths < round(CAP_TOKENS * 5):
            self.fifths += 1

    @rule()
    def repeat(self) -> None:
        # Fifths are not exact in binary: at the very border either is right.
        before = self.budget.tokens
        if self.budget.take():
            assert self.fifths >= 5 or before == pytest.approx(1)
            self.taken += 1
            self.fifths -= 5
        else:
            assert self.fifths <= 5

    @invariant()
    def it_is_the_model(self) -> None:
        assert self.budget.tokens == pytest.approx(self.fifths / 5, abs=0.201)
        assert -1e-9 <= self.budget.tokens <= CAP_TOKENS + 0.2
        assert self.taken <= START_TOKENS + 0.2 * self.answered + 1e-6


TestBudget = BudgetMachine.TestCase


def test_the_allowance_for_the_untried_is_a_budget_of_its_own() -> None:
    budget = RetryBudget()
    assert sum(budget.take_untried() for _ in range(200)) == START_UNTRIED
    assert budget.tokens == START_TOKENS
    budget.give_back_untried()
    assert budget.take_untried()
    assert not budget.take_untried()
    budget.untried = CAP_UNTRIED
    budget.give_back_untried()
    assert budget.untried == CAP_UNTRIED


@given(
    base_s=st.floats(0.001, 10),
    most_s=st.floats(0.001, 60),
    repeats=st.integers(0, 10_000),
    seed=st.integers(0, 2**32),
)
def test_a_pause_is_full_jitter_below_a_doubling_and_capped_limit(base_s, most_s, repeats, seed):
    rules = RetryRules(backoff_base_s=base_s, backoff_max_s=most_s)
    pause_s = rules.pause_s(repeats, None, Random(seed))
    assert pause_s is not None
    assert 0 <= pause_s <= min(most_s, base_s * 2 ** min(repeats, 30))


def test_pauses_use_their_whole_range():
    rng, rules = Random(3), RetryRules(backoff_base_s=0.1, backoff_max_s=2)
    for repeats, most_s in ((0, 0.1), (1, 0.2), (4, 1.6), (5, 2.0), (9, 2.0)):
        pauses = [rules.pause_s(repeats, None, rng) for _ in range(500)]
        assert min(pauses) < 0.1 * most_s
        assert 0.9 * most_s < max(pauses) <= most_s


@pytest.mark.parametrize(
    ("hint_s", "expected"), [(0.0, 0.0), (-3.0, 0.0), (1.5, 1.5), (LONGEST_HINT_S, LONGEST_HINT_S), (2.02, None)]
)
def test_a_short_hint_is_waited_for_as_it_is_a_long_one_not_at_all(hint_s, expected):
    assert RetryRules().pause_s(0, hint_s, Random(1)) == expected


def test_budgets_outlive_the_rules():
    budgets = {}
    before = Retries(RetryRules(2), {"slow": RetryRules(5)}, budgets)
    assert before["slow"].budget.take()
    assert before["slow"].rules.max_attempts == 5
    assert before["m"].rules.max_attempts == 2
    after = Retries(RetryRules(3), {}, budgets)
    assert after["slow"].budget.tokens == START_TOKENS - 1
    assert after["slow"].rules.max_attempts == 3
    assert after["m"].budget.tokens == START_TOKENS, "each name has its own"
