"""The lines of the ledger for one request."""

from collections.abc import Iterable

from policies.ledger import Entry, Purpose
from policies.outcome import Attempt, Outcome


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
    asked_before: set[str] = set()
    for number, attempt in enumerate(outcome.attempts):
        deployment, usage = attempt.deployment, attempt.usage
        why = purpose or _purpose(attempt, outcome, is_again=deployment.id in asked_before)
        asked_before.add(deployment.id)
        if usage is None:
            continue
        found.append(
            Entry(
                id=f"{prefix}/{number}",
                request_id=outcome.request.request_id,
                at_s=at_s,
                key=outcome.caller,
                team=team,
                tags=tuple(sorted(tags)),
                asked=outcome.decision.asked,
                route=outcome.decision.route,
                model=deployment.model,
                deployment=deployment.id,
                provider=deployment.provider,
                operation=outcome.request.operation,
                purpose=why,
                ending=_ending(attempt),
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
    if attempt.is_complete:
        return "ok"
    return attempt.kind.value if attempt.kind is not None else "cut"
