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
    found: list[Entry] = []
    attempts = outcome.attempts
    tags = tuple(sorted(tags)) if tags else ()
    if purpose is None and len(attempts) == 1 and outcome.joined is None and not attempts[0].is_hedge:
        if attempts[0].usage is not None:
            found.append(_entry(outcome, attempts[0], f"{prefix}/0", at_s, team, tags, _ANSWER))
        return found
    asked_before: set[str] = set()
    for number, attempt in enumerate(attempts):
        deployment_id = attempt.deployment.id
        why = purpose or _purpose(attempt, outcome, is_again=deployment_id in asked_before)
        asked_before.add(deployment_id)
        if attempt.usage is not None:
            found.append(_entry(outcome, attempt, f"{prefix}/{number}", at_s, team, tags, why))
    return found


def _entry(
    outcome: Outcome,
    attempt: Attempt,
    entry_id: str,
    at_s: float,
    team: str | None,
    tags: tuple[str, ...],
    why: Purpose,
) -> Entry:
    request, decision, deployment, usage = outcome.request, outcome.decision, attempt.deployment, attempt.usage
    assert usage is not None
    return Entry(  # by position: it takes half the time
        entry_id,
        request.request_id,
        at_s,
        outcome.caller,
        team,
        tags,
        decision.asked,
        decision.route,
        deployment.model,
        deployment.id,
        deployment.provider,
        request.operation,
        why,
        "ok" if attempt.is_complete else _ending(attempt),
        usage,
        attempt.cost_nusd,
        usage.reported_nusd,
        usage.is_estimated,
    )


def _purpose(attempt: Attempt, outcome: Outcome, *, is_again: bool) -> Purpose:
    if attempt.is_hedge:
        return Purpose.HEDGE
    if outcome.joined is not None and attempt is outcome.answered_by:
        return Purpose.CONTINUATION
    return Purpose.RETRY if is_again else Purpose.ANSWER


def _ending(attempt: Attempt) -> str:
    return attempt.kind.value if attempt.kind is not None else "cut"
