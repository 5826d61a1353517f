"""A test of every recorded exchange runs to the end and names each that failed."""

from dataclasses import dataclass

import pytest

from tests.providers.recorded import every


@dataclass
class _Exchange:
    source: str


def test_every_failure_is_named() -> None:
    seen = []

    @every(lambda: [_Exchange("a"), _Exchange("b"), _Exchange("c")])
    def check(exchange: _Exchange, extra: int) -> None:
        seen.append((exchange.source, extra))
        assert exchange.source == "b", "not b"

    with pytest.raises(ExceptionGroup, match="2 of 3 recorded exchanges:\na\nc") as failed:
        check(extra=1)
    assert seen == [("a", 1), ("b", 1), ("c", 1)]
    assert [str(error).split("\n")[0] for error in failed.value.exceptions] == ["not b", "not b"]
    assert failed.value.exceptions[1].__notes__ == ["with the recorded exchange c"]


@pytest.mark.parametrize("extra", [1, 2])
@every(lambda: [_Exchange("a")])
def test_other_arguments_come_from_pytest(exchange: _Exchange, extra: int) -> None:
    assert exchange.source == "a"
    assert extra in (1, 2)


def test_nothing_to_look_at_is_a_failure() -> None:
    @every(list)
    def check(exchange: _Exchange) -> None: ...

    with pytest.raises(AssertionError, match="no recorded exchange"):
        check()
