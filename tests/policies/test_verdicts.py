"""The verdict table: complete, and as documented."""

import re
from itertools import combinations, permutations
from pathlib import Path

import pytest

from policies.outcome import Attempt, Outcome
from policies.verdicts import VERDICTS, client_status, falls_back, summed_up
from providers.base import Cause, ErrorKind, ProviderError, Request, Target
from routing.decision import Decision, Deployment

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"


FOR_A_PERSON = {ErrorKind.MONEY, ErrorKind.CREDENTIALS}


def test_every_kind_has_a_row():
    assert set(VERDICTS) == set(ErrorKind)


def _documented() -> dict[str, list[str]]:
    text = DOCUMENT.read_text().split("<!-- generated: verdicts -->")[1].split("<!-- end -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "`" in line]
    return {row[0].strip("`"): row[1:] for row in rows if row[0] != "kind"}


@pytest.mark.parametrize("kind", ErrorKind)
def test_the_document_says_the_same(kind):
    _, step, status, type_ = _documented()[kind.value]
    verdict = VERDICTS[kind]
    assert ("next" in step) == verdict.falls_back
    assert ("same candidate" in step) == verdict.retries_fresh
    assert status.startswith("upstream's own") == verdict.is_callers
    assert re.search(r"\d+", status)[0] == str(verdict.status)
    assert type_ == ("upstream's own" if verdict.is_callers else f"`{verdict.error_type}`")


@pytest.mark.parametrize("kind", ErrorKind)
@pytest.mark.parametrize("cause", Cause)
def test_status_and_next_step_of_every_pair(kind, cause):
    error = ProviderError(kind, "x", cause=cause)
    status = client_status(error)
    assert 400 <= status < 600
    if not VERDICTS[kind].is_callers:
        assert (status == 504) == (cause in (Cause.TTFT, Cause.IDLE, Cause.TOTAL))
        assert status != 401, "a provider's refusal of our key is not the caller's"
    if cause is Cause.TOTAL:
        assert not falls_back(error)
    elif cause is Cause.UNSUPPORTED:
        assert falls_back(error)
    else:
        assert falls_back(error) == VERDICTS[kind].falls_back


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_callers_error_keeps_its_status(status):
    assert client_status(ProviderError(ErrorKind.CALLER, "x", status=status)) == status


def test_overhead_is_what_no_upstream_call_explains():
    deployment = Deployment("p/m", "p/m", "m", "p", Target("m"), None)
    request = Request("chat", {}, b"", "m", stream=False, include_usage=False, request_id="r")
    outcome = Outcome(request, "c", 10.0, Decision("m", "direct", (deployment,)), [Attempt(deployment, 10.1, 10.5)])
    outcome.attempts += [Attempt(deployment, 10.3, 10.4), Attempt(deployment, 10.4, 10.6)]  # at once
    outcome.close(10.7)
    assert outcome.duration_s == pytest.approx(0.7)
    assert outcome.overhead_s == pytest.approx(0.2)
    assert outcome.upstream_s == pytest.approx(0.5)


def test_the_sum_of_failures_does_not_depend_on_their_order():
    errors = [ProviderError(kind, kind.value) for kind, verdict in VERDICTS.items() if verdict.falls_back]
    errors += [ProviderError(ErrorKind.BROKEN, "silent", cause=cause) for cause in (Cause.TTFT, Cause.IDLE)]
    for some in (list(some) for size in (1, 2, 3) for some in combinations(errors, size)):
        for left_out in ((), (ErrorKind.THROTTLED,), (ErrorKind.OVERLOADED,)):
            found = {client_status(summed_up(list(order), left_out)) for order in permutations(some)}
            assert len(found) == 1, [error.message for error in some]
            kinds = {error.kind for error in some} - FOR_A_PERSON | set(left_out)
            assert (found == {429}) == (kinds == {ErrorKind.THROTTLED})
            timely = [error for error in some if error.kind not in FOR_A_PERSON]
            is_silence = not left_out and timely and all(error.message == "silent" for error in timely)
            assert (found == {504}) == bool(is_silence)
