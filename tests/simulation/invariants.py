"""What has to hold when a scenario is over, whatever happened in it."""

import re
from collections.abc import Iterator, Mapping

import orjson

from policies.breaker import Repute
from policies.outcome import Attempt, Outcome
from policies.retry import CAP_TOKENS, CAP_UNTRIED, UNTRIED_SHARE
from policies.verdicts import TIMEOUTS, VERDICTS, falls_back, may_repeat
from providers.base import Cause, ErrorKind, ProviderError
from tests.simulation.clients import Client
from tests.simulation.givens import IN_NUSD, OUT_NUSD, deployment
from tests.simulation.kept import GIVEN, MOST_FLIGHTS, of_cache, of_given
from tests.simulation.upstreams import TOKENS_PER_PIECE, Line, piece
from tests.simulation.world import Played

# What may pass after a limit: the last words to somebody who does not read, and a step of the clock.
_GRACE_S = 0.25
# Whoever can be called in this time is waited for: in two seconds, less what clocks are apart.
_WORTH_WAITING_S = 1.95
# What happens at once.
_TIE_S = 1e-6
# Longer than any breaker stays open here, and than any hint of these providers.
_LONG_S = 400.0
_CONTENT = re.compile(rb'"content":"((?:[0-9a-f]{3}\.[0-9a-f]{3} )+)"')
_DONE = b"data: [DONE]\n\n"


def violations(played: Played) -> list[str]:
    """Everything that is wrong, in words."""
    found = [*_of_the_whole(played)]
    for client in played.clients:
        found += [f"{client.plan.id}: {what}" for what in _of_request(played, client)]
    return found


def _of_the_whole(played: Played) -> Iterator[str]:
    for error in played.book.crashes:
        yield f"a fault of ours: {error!r}"
    for task in played.unfinished:
        yield f"a task is left: {task}"
    for timer in played.loop.armed():
        yield f"a timer is left: {timer}"
    for line in played.ledger.lines:
        if line.closed_s is None:
            yield f"call {line.number:03x} was never ended"
    service, gate = played.service, played.service.gate
    if service.in_flight or gate.in_flight or gate.waiting or any(gate.held.values()):
        yield f"places are still taken: {service.in_flight}, {gate.in_flight}, {gate.waiting}, {dict(gate.held)}"
    if played.most_in_flight > played.scenario.max_in_flight:
        yield f"{played.most_in_flight} requests had a place, of {played.scenario.max_in_flight}"
    for name, standing in service.runtime.router.world.latency.snapshot().items():
        if standing.in_flight:
            yield f"{standing.in_flight} calls to {name} never ended for the latency book"
    yield from played.watch.problems
    if played.treasury is not None:
        yield from played.treasury.at_the_end([o for own in played.book.outcomes.values() for o in own])
    if played.scenario.cache is not None:
        yield from of_cache(played, played.scenario.cache)
    yield from _of_budgets(played)
    yield from _of_breakers(played)


def _of_budgets(played: Played) -> Iterator[str]:
    """Extra calls are paid for with tokens: those at the start, and what answers earned. For somebody of whom nothing
    is known there are as many again, and for half as much.
    """
    scenario = played.scenario
    ratio = scenario.budget_ratio
    # Where a Redis is asked before an extra call, that begins later than it was decided on.
    is_exact = played.treasury is None or played.treasury.redis is None
    reputes = played.watch.reputes if is_exact else {}
    for name, budget in played.budgets.items():
        outcomes = [o for own in played.book.outcomes.values() for o in own if _budget_of(o) == name]
        if not (0 <= budget.tokens <= CAP_TOKENS + ratio and 0 <= budget.untried <= CAP_UNTRIED + ratio):
            yield f"the retry budget of {name} has {budget.tokens} tokens and {budget.untried}"
        fares = [_fares(sent_of(outcome), reputes) for outcome in outcomes]
        paid, untried, either = (sum(column) for column in zip(*fares, strict=True)) if fares else (0, 0, 0)
        answers = sum(attempt.is_complete for o in outcomes for attempt in o.attempts)
        earned, earned_untried = scenario.tokens + ratio * answers, scenario.tokens + ratio * UNTRIED_SHARE * answers
        if paid > earned + 1e-6:
            yield f"{paid} extra calls of {name} were made, and {earned:g} tokens were there"
        if paid + untried > earned + earned_untried + 1e-6:
            yield f"{paid + untried} extra calls of {name} were made, for {earned:g} and {earned_untried:g} tokens"
        answered = ratio * sum(outcome.ending == "ok" and outcome.answered_by is not None for outcome in outcomes)
        spent = paid + untried + either
        least = scenario.tokens + answered - spent
        if budget.tokens < min(least, CAP_TOKENS - spent) - 1e-6:
            yield f"the retry budget of {name} has {budget.tokens:g} tokens, {least:g} should be left"
        least = scenario.tokens + answered * UNTRIED_SHARE - untried - either
        if budget.untried < least - 1e-6:
            yield f"the retry budget of {name} has {budget.untried:g} for those not tried, {least:g} should be left"


def _of_breakers(played: Played) -> Iterator[str]:
    """Every permit came back: after a long time everybody can be called. Moves the clock."""
    guard = played.guard
    for name, breaker in guard._breakers.items():
        if breaker.pending:
            yield f"{breaker.pending} calls to {name} never ended for its breaker"
    played.loop.now += _LONG_S
    for deployed in played.scenario.deployed:
        if not guard.admit(deployment(deployed.name)):
            yield f"{deployed.name} can never be called again"


def _budget_of(outcome: Outcome) -> str:
    return outcome.decision.route or outcome.decision.asked


def _fares(attempts: list[Attempt], reputes: Mapping[tuple[str, float], set[Repute]]) -> tuple[int, int, int]:
    """How many of the calls of a request took a token, how many were those to somebody of whom nothing is known, and
    how many may have been either, or free.

    Tokens are for second calls beside a slow one, for repeats, and after most failures for those to somebody who failed
    of late. The first to somebody who answers well is free. Where the repute changed in the very moment of the call it
    is not known which one counted.
    """
    paid = untried = either = 0
    before: list[int] = []  # the call, or the two at once, that came before
    may_waive: bool | None = True  # None: nobody can tell
    for index, attempt in enumerate(attempts):
        if attempt.is_hedge:
            paid += 1
            before.append(index)
            continue
        is_repeat = any(own.deployment is attempt.deployment for own in attempts[:index])
        if before and not any(_is_free(own, attempts) for own in before):
            last = max((attempts[own] for own in before), key=lambda own: own.ended)
            if is_repeat:
                paid += 1
            elif _costs_a_token(last):
                # It is paid for when it is decided on: after a wait the repute may be another one.
                has_waited = attempt.started - last.ended > _TIE_S
                seen = None if has_waited else reputes.get((attempt.deployment.id, attempt.started))
                is_waived = seen == {Repute.GOOD} and may_waive is True
                is_untried = seen == {Repute.UNKNOWN} or (seen == {Repute.GOOD} and may_waive is False)
                paid += seen == {Repute.BAD}
                untried += is_untried
                is_unclear = not (seen == {Repute.BAD} or is_untried or is_waived)
                either += is_unclear
                if may_waive:
                    may_waive = None if is_unclear else not is_waived
        before = [index]
    return paid, untried, either


def sent_of(outcome: Outcome) -> list[Attempt]:
    """The calls that came to a provider: all that are recorded, but for those that a budget did not pay for."""
    return [attempt for attempt in outcome.attempts if attempt.cause is not Cause.UNSUPPORTED]


def _costs_a_token(failed: Attempt) -> bool:
    """Whether the call after this one takes a token, where it is the first one to somebody."""
    return failed.kind is not None and failed.cause is not Cause.UNSUPPORTED and VERDICTS[failed.kind].is_budgeted


def _is_free(index: int, attempts: list[Attempt]) -> bool:
    """Whether it found an idle connection dead, and was repeated at once over a fresh one: that is no attempt."""
    attempt = attempts[index]
    if attempt.kind is not ErrorKind.STALE:
        return False
    if index and attempts[index - 1].deployment is attempt.deployment and _is_free(index - 1, attempts):
        return False  # it was the fresh one
    after = [own for own in attempts[index + 1 :] if own.started >= attempt.ended]
    is_same = bool(after) and after[0].deployment is attempt.deployment
    return is_same and after[0].started - attempt.ended < _TIE_S


def _of_request(played: Played, client: Client) -> Iterator[str]:
    outcomes, refusals = played.book.outcomes[client.plan.id], played.book.refusals[client.plan.id]
    lines = [line for line in played.ledger.lines if line.request_id == client.plan.id]
    is_gone = client.left_s is not None or client.is_cut
    yield from client.misuses
    # A kept answer is there at once, and how fast it is read is its caller's affair.
    is_waited_for = client.plan.slow_s is not None or client.has_stalled
    if not (is_waited_for and outcomes and outcomes[0].cache in GIVEN):
        yield from _of_time(played, client)
    yield from _of_waits(played, client, lines)
    if not is_gone and not client.is_ended:
        yield "its answer has no end"
    if len(outcomes) + len(refusals) != 1 and not (is_gone and not outcomes and not refusals and not lines):
        yield f"it was settled {len(outcomes)} times and refused {len(refusals)} times, after {len(lines)} calls"
    if outcomes:
        yield from _of_outcome(played, client, outcomes[0], lines)
        yield from _of_bytes(played, client, outcomes[0], lines)
        yield from _of_money(played, outcomes[0], lines)
    elif lines:
        yield "it was refused, and a provider was called"
    if played.scenario.is_quiet:
        calls = 0 if outcomes and outcomes[0].cache in GIVEN else 1
        if len(lines) != calls or not outcomes or outcomes[0].ending != "ok":
            yield f"nothing went wrong, and it was answered by {len(lines)} calls"


def _of_time(played: Played, client: Client) -> Iterator[str]:
    # What it waits for calls of others does not count.
    limit_s = _limit_s(played, client) * (1 if client.plan.topic is None else 1 + MOST_FLIGHTS)
    took_s = client.done_s - client.arrived_s
    if took_s > limit_s + _GRACE_S:
        yield f"it took {took_s:.2f} s, and had {limit_s:g} s"
    if client.left_s is not None and client.done_s > client.left_s + _GRACE_S:
        yield f"its work went on for {client.done_s - client.left_s:.2f} s after its caller had left"


def _limit_s(played: Played, client: Client) -> float:
    total_s, own_s = played.scenario.total_s, client.plan.timeout_s
    return total_s if own_s is None else min(own_s, total_s)


def _of_waits(played: Played, client: Client, lines: list[Line]) -> Iterator[str]:
    """No provider is waited for beyond its limits; comments are no content."""
    plan = client.plan
    if not plan.is_stream or plan.slow_s is not None or plan.stalls_at is not None:
        return
    limits = {deployed.name: deployed.timeouts for deployed in played.scenario.deployed}
    for line in lines:
        if line.closed_s is None or line.is_whole:
            continue
        own = limits[line.provider]
        waited_s = line.closed_s - (line.last_s if line.pieces_sent else line.opened_s)
        limit_s = own.idle_s if line.pieces_sent else own.ttft_s
        if waited_s > limit_s + _GRACE_S and not line.script.has_comments:
            yield f"{line.provider} was waited for {waited_s:.2f} s, its limit is {limit_s:g} s"


def _of_outcome(played: Played, client: Client, outcome: Outcome, lines: list[Line]) -> Iterator[str]:
    attempts, scenario = sent_of(outcome), played.scenario
    counted = _counted(attempts)
    if counted > scenario.max_attempts:
        yield f"{counted} calls were made, {scenario.max_attempts} are allowed"
    if [line.provider for line in lines] != [attempt.deployment.provider for attempt in attempts]:
        yield f"{len(lines)} calls came to providers, {len(attempts)} were recorded"
    for index, attempt in enumerate(attempts):
        beside = [before for before in attempts[:index] if before.ended > attempt.started]
        if len(beside) > 1 or (beside and not attempt.is_hedge):
            yield f"{len(beside) + 1} calls ran at once"
    answered_by = outcome.answered_by
    if answered_by is not None:
        committed_s = answered_by.started + (answered_by.ttft_s or 0.0)
        if any(attempt.started > committed_s + 1e-6 for attempt in attempts):
            yield "a call was started after the commit"
    if outcome.ending == "upstream_error" and attempts and _gave_up_early(played, client, outcome):
        yield "it gave up although somebody was left to ask"
    if outcome.ending == "client_gone" and client.left_s is None and not client.is_cut:
        yield "its caller was there, and is recorded as gone"
    if outcome.ending == "internal_error":
        yield "it ended with a fault of ours"


def _gave_up_early(played: Played, client: Client, outcome: Outcome) -> bool:
    """Whether a call was allowed, and somebody was left who could be called now, or soon enough to be waited for."""
    attempts, scenario = outcome.attempts, played.scenario
    if len(sent_of(outcome)) < len(attempts):
        return False  # a budget paid for no more
    last = max(attempts, key=lambda attempt: attempt.ended)
    if last.kind is None or last.cause is None:
        return True
    if outcome.is_budget_empty or not falls_back(_error_of(last)) or _counted(attempts) >= scenario.max_attempts:
        return False
    waited_s, left_s = outcome.ended - last.ended, _limit_s(played, client) - (outcome.ended - client.arrived_s)
    for candidate in outcome.decision.candidates:
        own = [attempt for attempt in attempts if attempt.deployment is candidate]
        wait_s = played.book.waits[outcome.request.request_id][candidate.id]
        if own:
            if not may_repeat(_error_of(own[-1])):
                continue
            wait_s = max(wait_s, own[-1].ended + (own[-1].retry_after_s or 0.0) - outcome.ended)
            if wait_s <= 0 and left_s > scenario.backoff_base_s * 2 ** len(own):
                return True
        if waited_s + wait_s < _WORTH_WAITING_S and wait_s + _GRACE_S < left_s and (not own or wait_s > 0):
            return True
    return False


def _error_of(attempt: Attempt) -> ProviderError:
    assert attempt.kind is not None
    assert attempt.cause is not None
    return ProviderError(attempt.kind, "", cause=attempt.cause)


def _counted(attempts: list[Attempt]) -> int:
    sent = [index for index, attempt in enumerate(attempts) if attempt.cause is not Cause.UNSUPPORTED]
    return sum(not _is_free(index, attempts) for index in sent)


def _of_bytes(played: Played, client: Client, outcome: Outcome, lines: list[Line]) -> Iterator[str]:
    """What the caller got against what is recorded."""
    body, answered_by = client.body, outcome.answered_by
    text = b"".join(match[1] for match in _CONTENT.finditer(body)).decode()
    numbers = {text[at : at + 3] for at in range(0, len(text), 8)}
    if len(numbers) > 1:
        yield f"it got bytes of several calls: {sorted(numbers)}"
    elif numbers:
        line = played.ledger.lines[int(numbers.pop(), 16)]
        whole = "".join(piece(line.number, index) for index in range(line.script.pieces))
        if not whole.startswith(text):
            yield f"its text is not what call {line.number:03x} said"
        is_all = text == whole
        if outcome.cache in GIVEN:
            yield from of_given(played, client, outcome, line)
        elif answered_by is None or lines[sent_of(outcome).index(answered_by)] is not line:
            yield "it got bytes of a call that is not recorded as the answer"
        if not is_all and (body.endswith(_DONE) if client.is_streamed else client.status == 200):
            yield "its answer ends properly, and text is missing"
    if client.left_s is None:
        yield from _of_ending(client, outcome)


def _of_ending(client: Client, outcome: Outcome) -> Iterator[str]:
    """The end that somebody saw who stayed."""
    status, body, ending = client.status, client.body, outcome.ending
    is_stream = client.is_streamed
    if is_stream:
        is_done, is_error = body.endswith(_DONE), body.rpartition(b"data: ")[2].startswith(b'{"error":')
        if body.count(_DONE) > 1 or body.count(b'"error":{') > 1 or is_done == is_error:
            yield f"its stream ends with {body[-80:]!r}"
        if _DONE in body[: -len(_DONE)]:
            yield "its stream goes on after its end"
        if is_done != (ending == "ok"):
            yield f"its stream {'is whole' if is_done else 'broke'}, and is recorded as {ending}"
        return
    is_good = status == 200
    if is_good != (ending == "ok"):
        yield f"it got status {status}, and is recorded as {ending}"
    if is_good == (b'"error"' in body[:12]) or not _is_json(body):
        yield f"status {status} came with {body[:80]!r}"


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except ValueError:
        return False
    return True


def _of_money(played: Played, outcome: Outcome, lines: list[Line]) -> Iterator[str]:
    attempts = sent_of(outcome)
    if len(lines) != len(attempts):
        return
    total = 0
    for line, attempt in zip(lines, attempts, strict=True):
        bill = _bill_nusd(played.ledger.prompts[line.request_id], line, attempt)
        total += bill
        if bill != (attempt.cost_nusd or 0):
            yield f"call {line.number:03x} costs {bill} nano-dollars, {attempt.cost_nusd} are recorded"
    if total != (outcome.cost_nusd or 0):
        yield f"it costs {total} nano-dollars, {outcome.cost_nusd} are recorded"


def _bill_nusd(prompt: int, line: Line, attempt: Attempt) -> int:
    """What the provider charges: what it said, else for what it had sent, else for the prompt of a call that was given
    up, by its caller or by a limit of ours.
    """
    if line.is_whole or line.told_usage:
        return prompt * IN_NUSD + line.script.pieces * TOKENS_PER_PIECE * OUT_NUSD
    if line.pieces_sent:
        return prompt * IN_NUSD + line.pieces_sent * TOKENS_PER_PIECE * OUT_NUSD
    is_refused = attempt.status is not None and attempt.status >= 300
    is_given_up = attempt.kind is None or (attempt.cause in TIMEOUTS and not is_refused)
    is_begun = attempt.status is not None and not is_refused and attempt.cause is not Cause.IN_BAND
    return prompt * IN_NUSD if is_given_up or is_begun else 0
