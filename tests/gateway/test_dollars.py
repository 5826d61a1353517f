"""How amounts of money are written."""

import pytest

from gateway.wire.answers import usd


@pytest.mark.parametrize(
    ("nusd", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (2_500_000_000, "2.5"),
        (-500_000_000, "-0.5"),
        (-1, "-0.000000001"),
        (-3_000_000_000, "-3"),
        (-1_250_000_000, "-1.25"),
    ],
)
def test_dollars_are_exact_on_both_sides_of_zero(nusd, text):
    assert usd(nusd) == text
