"""One test for every recorded exchange of a kind."""

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Protocol


class _Recorded(Protocol):
    @property
    def source(self) -> str: ...


def every(selection: Callable[[], Sequence[_Recorded]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The test gets all that `selection` finds, one after the other, as its first argument; pytest sees one test.

    It runs to the end and fails with whatever failed: each with the exchange's source and its own traceback. One test,
    because thousands that take a millisecond each cost more to collect and to report than to run, and because every
    worker would have to read all recordings only to know their names. Selecting nothing is a failure.
    """

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(check)
        _, *others = signature.parameters.values()

        @wraps(check)
        def test(**arguments: Any) -> None:
            found = selection()
            failures = []
            for exchange in found:
                try:
                    check(exchange, **arguments)
                except Exception as error:
                    error.add_note(f"with the recorded exchange {exchange.source}")
                    failures.append((exchange.source, error))
            assert found, "no recorded exchange was selected"
            if failures:
                names = "\n".join(source for source, _ in failures)
                raise ExceptionGroup(
                    f"{len(failures)} of {len(found)} recorded exchanges:\n{names}\n", [error for _, error in failures]
                )

        test.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return test

    return decorate
