"""Between a request and routing: what routing is told, what its refusals say to the caller, and what it learns."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from gateway.availability import Guard, size_of
from gateway.runtime import Caller, Runtime
from gateway.wire import refusals
from gateway.wire.preferences import take_preferences
from policies.outcome import Attempt, Outcome
from providers.base import Cause, ErrorKind, Request
from routing.ask import Ask
from routing.choice import World
from routing.constraints import NoCandidateError
from routing.decision import Decision, Deployment, Reason, summarise
from routing.preferences import has_preferences, parse_usd
from routing.router import UnknownModelError

NO_HEADERS: Mapping[bytes, bytes] = MappingProxyType({})
_ROUTE = b"x-signalbox-route"
_MAX_COST = b"x-signalbox-max-cost-usd"
_PASSING = frozenset({Reason.BREAKER_OPEN, Reason.THROTTLED})


class NobodyNowError(refusals.RefusedError):
    """All that could take the request failed lately, or asked for a pause. `decision` says who was left out, `paused`
    which of them are only asked for a pause, and the seconds for which.
    """

    def __init__(self, refused: refusals.RefusedError, decision: Decision, paused: Mapping[Deployment, float]) -> None:
        super().__init__(refused.reason, refused.refusal)
        self.decision = decision
        self.paused = paused


def ask_of(request: Request, caller: Caller, headers: Mapping[bytes, bytes], arrived_s: float) -> Ask:
    """The request as routing sees it. The header `x-signalbox-route` goes before the model of the body."""
    name = request.model
    if _ROUTE in headers:
        name = headers[_ROUTE].decode("latin-1").strip()
    return Ask(
        name,
        request.body,
        len(request.raw),
        request.operation,
        request.stream,
        caller.name,
        caller.candidates,
        headers,
        arrived_s,
        key_tags=caller.tags,
    )


def decide(runtime: Runtime, request: Request, ask: Ask, caller: Caller) -> Decision:
    """The decision for a caller's request, which loses the members that only routing reads. Raises RefusedError,
    NobodyNowError where that passes by itself.
    """
    try:
        if has_preferences(ask.body, ask.name):
            ask.name, ask.preferences = take_preferences(runtime, request, ask.name)
            ask.body = request.body
            for other in ask.preferences.models:
                if not caller.may_use(other):
                    raise refusals.model_not_allowed(other)
        if _MAX_COST in ask.headers:
            ask.preferences = replace(ask.preferences, max_cost_nusd=_max_cost_nusd(ask.headers[_MAX_COST]))
        if not caller.may_use(ask.name):
            raise refusals.model_not_allowed(ask.name)
        return runtime.router.decide(ask)
    except UnknownModelError as error:
        raise refusals.unknown_model(error.name, [name for name in error.near if caller.may_use(name)]) from None
    except NoCandidateError as error:
        larger = _for_larger(runtime, ask) if error.main is Reason.CONTEXT_WINDOW else None
        if larger is not None:
            return larger
        raise _refused(runtime, ask, error) from error


def _refused(runtime: Runtime, ask: Ask, error: NoCandidateError) -> refusals.RefusedError:
    guard, size = runtime.guard, partial(size_of, ask)
    left_out = [rejected.deployment for rejected in error.rejections if rejected.reason in _PASSING]
    waiting = [one for one in left_out if not guard.needs_person(one)]
    is_for_a_person = bool(left_out) and not waiting
    wait_s = guard.earliest_s(waiting, size)
    refused = refusals.no_candidate(ask.name, error, wait_s, is_for_a_person=is_for_a_person)
    if error.main not in _PASSING:
        return refused
    plan = runtime.router.find(ask.name)
    pauses = {deployment: guard.pause_s(deployment, size) for deployment in waiting}
    return NobodyNowError(
        refused,
        Decision(plan.name, plan.kind, (), error.rejections, plan.route, summary=plan.summary(), rule=error.rule),
        {deployment: pause_s for deployment, pause_s in pauses.items() if pause_s is not None},
    )


def retry_after_s(guard: Guard, outcome: Outcome, now: float, size: Callable[[], int] | None) -> float | None:
    """Seconds until the first of all candidates of a failed request may be called: of those that were asked, of those
    that had no turn, and of those that routing left out because they failed, or asked for a pause, before.

    None where only a person can help, or nobody can take the request. `now` is a reading of the clock of the attempts,
    `size` gives the tokens of the request.
    """
    decision = outcome.decision
    latest = {attempt.deployment.id: attempt for attempt in outcome.attempts}
    candidates = [attempt.deployment for attempt in outcome.attempts]
    candidates += decision.candidates
    candidates += [rejected.deployment for rejected in decision.rejections if rejected.reason in _PASSING]
    waits = []
    is_untold = False
    for deployment in {one.id: one for one in candidates}.values():
        attempt = latest.get(deployment.id)
        if guard.needs_person(deployment) or (attempt is not None and attempt.cause is Cause.UNSUPPORTED):
            continue
        wait_s = guard.earliest_s((deployment,), size) or 0.0
        if attempt is not None:
            wait_s = max(wait_s, _hint_s(attempt, now))
        if attempt is None or wait_s > 0:
            waits.append(wait_s)
        else:
            is_untold = True  # it failed just now, so that "at once" is the last choice
    return min(waits, default=0.0 if is_untold else None)


def _hint_s(attempt: Attempt, now: float) -> float:
    """What is left of the time that the provider named."""
    return 0.0 if attempt.retry_after_s is None else max(0.0, attempt.retry_after_s - (now - attempt.ended))


def detour(runtime: Runtime, ask: Ask, decision: Decision, kind: ErrorKind) -> list[Deployment]:
    """The deployments that the route has for this kind of error and that can take the request, in order: within every
    limit of the route and the request, and of the models that the caller's key allows.
    """
    if decision.route is None or not ask.preferences.allow_fallbacks:
        return []
    found: list[Deployment] = []
    preferences = replace(ask.preferences, models=())
    for name in runtime.detours.get((decision.route, kind), ()):
        with suppress(NoCandidateError):
            other = replace(ask, name=name, preferences=preferences)
            found += runtime.router.decide_within(other, (decision.asked, decision.route)).candidates
    return found


def _for_larger(runtime: Runtime, ask: Ask) -> Decision | None:
    """A decision for the models that the route keeps for what is too long for its own; None where they do not fit."""
    nobody = Decision(ask.name, "ordered", (), route=ask.name, summary=summarise("ordered", route=ask.name))
    found = detour(runtime, ask, nobody, ErrorKind.CONTEXT_LENGTH)
    return replace(nobody, candidates=tuple(found), application=ask.application()) if found else None


def _max_cost_nusd(text: bytes) -> int:
    try:
        return parse_usd(text.decode("latin-1"))
    except ValueError as error:
        raise refusals.invalid_header(_MAX_COST.decode(), str(error)) from None


def remember(world: World, ask: Ask, outcome: Outcome) -> None:
    """What a request teaches for the next ones: what was spent, how long answers are, where this conversation is."""
    decision, answered_by, usage = outcome.decision, outcome.answered_by, outcome.usage
    if outcome.cost_nusd:
        world.spending.note(ask.key, outcome.cost_nusd, ask.arrived_s)
    if answered_by is None or usage is None or not answered_by.is_complete:
        return
    if decision.application:
        world.outputs.note(decision.application, answered_by.deployment.model, usage.completion_tokens)
    if decision.session is not None:
        world.affinity.note(decision.session, answered_by.deployment, decision.tier, usage)
