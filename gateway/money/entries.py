"""The lines of the ledger for one request."""

from collections.abc import Iterable

from policies.ledger import Entry, Purpose
from policies.outcome import Attempt, Outcome

_ANSWER = Purpose.ANSWER  # a member is found by a call


def entries_of(
    outcome: Outcome,
    *,
    at_s: float,
    team: str | None,
    tags: Iterable[str],
    prefix: str,
    purpose: Purpose | None = None,
) -> list[Entry]:
    """One entry for each of its calls that the provider may charge for.

    `at_s` is Unix time at the end; `prefix` makes the ids unique, whatever request ids clients choose. `purpose` is
    given where no caller asked for the calls.
    """
    found = []
    request, decision = outcome.request, outcome.decision
    tags = tuple(sorted(tags))
    is_usual = purpose is None and outcome.joined is None
    asked_before: set[str] = set()
    for number, attempt in enumerate(outcome.attempts):
        deployment, usage = attempt.deployment, attempt.usage
        if is_usual and not number and not attempt.is_hedge:
            why = _ANSWER
        else:
            why = purpose or _purpose(attempt, outcome, is_again=deployment.id in asked_before)
        asked_before.add(deployment.id)
        if usage is None:
            continue
        found.append(
            Entry(
                id=f"{prefix}/{number}",
                request_id=request.request_id,
                at_s=at_s,
                key=outcome.caller,
                team=team,
                tags=tags,
                asked=decision.asked,
                route=decision.route,
                model=deployment.model,
                deployment=deployment.id,
                provider=deployment.provider,
                operation=request.operation,
                purpose=why,
                ending="ok" if attempt.is_complete else _ending(attempt),
                usage=usage,
                cost_nusd=attempt.cost_nusd,
                reported_nusd=usage.reported_nusd,
                is_estimated=usage.is_estimated,
            )
        )
    return found


def _purpose(attempt: Attempt, outcome: Outcome, *, is_again: bool) -> Purpose:
    if attempt.is_hedge:
        return Purpose.HEDGE
    if outcome.joined is not None and attempt is outcome.answered_by:
        return Purpose.CONTINUATION
    return Purpose.RETRY if is_again else Purpose.ANSWER


def _ending(attempt: Attempt) -> str:
    return attempt.kind.value if attempt.kind is not None else "cut"
