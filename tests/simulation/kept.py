"""What has to hold of answers that were kept, and of those that several requests shared."""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from policies.cache.shelf import Entry
from policies.outcome import CacheUse, Outcome
from tests.simulation.clients import Client
from tests.simulation.scenario import CachePlan, ClientPlan
from tests.simulation.upstreams import Line, piece
from tests.simulation.world import Played

# These bring what a call of somebody else had said.
GIVEN = frozenset({CacheUse.HIT, CacheUse.SHARED, CacheUse.STALE})
MOST_FLIGHTS = 2  # of others that one waits for in vain
_TIE_S = 1e-3
_NUMBER = re.compile(rb"([0-9a-f]{3})\.000 ")
_NEW = ("no-cache", "no-store")  # who says so wants nothing of before


class _Led(NamedTuple):
    """A request that called for itself. Times are seconds of the loop."""

    client: Client
    lines: list[Line]
    outcome: Outcome

    @property
    def began_s(self) -> float:
        return self.lines[0].opened_s

    @property
    def is_usual(self) -> bool:
        """Whether it would have gone along with a call that was under way."""
        return self.client.plan.timeout_s is None and self.client.plan.wish not in _NEW

    @property
    def is_good(self) -> bool:
        outcome = self.outcome
        return outcome.ending == "ok" and outcome.answered_by is not None


def of_given(played: Played, client: Client, outcome: Outcome, line: Line) -> Iterator[str]:
    """What is wrong with an answer to `client` that is that of the call `line`."""
    plan, cache = client.plan, played.scenario.cache
    asker = next(other.plan for other in played.clients if other.plan.id == line.request_id)
    if cache is None or _question(plan, cache) != _question(asker, cache):
        yield f"it got the answer to {asker.id}, which asked something else or is somebody else"
        return
    if b"x-signalbox-cache: %b\r\n" % outcome.cache.encode() not in client.head:
        yield f"its answer is {outcome.cache}, and is not marked so"
    if plan.wish in _NEW:
        yield f"it wanted a new answer, and got one that is {outcome.cache}"
    led = played.book.outcomes[asker.id][0]
    age_s = client.begun_s - led.ended
    allowed_s = {CacheUse.HIT: cache.ttl_s, CacheUse.STALE: cache.ttl_s + cache.stale_s, CacheUse.SHARED: 0.0}
    if age_s > allowed_s[outcome.cache] + _TIE_S or (age_s > 1 + _TIE_S and plan.wish == "max-age=1"):
        yield f"its answer is {outcome.cache}, and was complete {age_s:.2f} s before"
    if outcome.cache is CacheUse.SHARED and client.arrived_s > led.ended + _TIE_S:
        yield "it shares a call that was over when it came"
    if outcome.cache is CacheUse.STALE and client.is_streamed:
        yield "it got a stale answer as a stream"


def of_cache(played: Played, cache: CachePlan) -> Iterator[str]:
    """What is wrong with what is kept in the end, and with who asked for what."""
    plans = {client.plan.id: client.plan for client in played.clients}
    for entry in played.keeper.shelf:
        yield from _of_entry(played, cache, entry, plans)
    for client in played.clients:
        for outcome in played.book.outcomes[client.plan.id]:
            if outcome.cache is CacheUse.SHARED and outcome.ending in ("upstream_error", "internal_error"):
                yield f"{client.plan.id} was given an error of somebody else"
            if client.plan.wish == "only-if-cached" and outcome.attempts:
                yield f"{client.plan.id} wanted a kept answer only, and somebody was called"
    if played.scenario.reloads_s is None:  # which forgets what is kept, and what is under way
        yield from _of_flights(played, cache)


def _of_entry(played: Played, cache: CachePlan, entry: Entry, plans: dict[str, ClientPlan]) -> Iterator[str]:
    found = _NUMBER.search(entry.body)
    if found is None:
        yield f"an answer is kept that no call gave: {entry.body!r}"
        return
    line = played.ledger.lines[int(found[1], 16)]
    asker = plans[line.request_id]
    whole = "".join(piece(line.number, index) for index in range(line.script.pieces))
    if not line.is_whole or b'"content":"%b"' % whole.encode() not in entry.body or entry.finish_reason != "stop":
        yield f"call {line.number:03x} was cut or failed, and its answer is kept"
    if asker.wish == "no-store":
        yield f"the answer to {asker.id} is kept, against its word"
    if played.book.outcomes[asker.id][0].caller not in _owners(entry, cache):
        yield f"the answer to {asker.id} is kept for {entry.partition}"


def _owners(entry: Entry, cache: CachePlan) -> tuple[str, ...]:
    return ("one", "two") if entry.partition == "group:both" and cache.is_grouped else (entry.partition[4:],)


def _of_flights(played: Played, cache: CachePlan) -> Iterator[str]:
    """Of equal requests at the same time one calls, and another one after it fails; none where an answer is kept."""
    asked: defaultdict[object, list[Client]] = defaultdict(list)
    for client in played.clients:
        asked[_question(client.plan, cache)].append(client)
    calls: defaultdict[str, list[Line]] = defaultdict(list)
    for line in played.ledger.lines:
        calls[line.request_id].append(line)
    for clients in asked.values():
        led = [
            _Led(client, calls[client.plan.id], outcome)
            for client in clients
            if client.plan.id in calls
            for outcome in played.book.outcomes[client.plan.id]
        ]
        usual = [own for own in led if own.is_usual]
        yield from _of_kept(led, usual, cache)
        # Who wants a new answer takes the place of the call that others could join, also where it is refused then.
        if not any(client.plan.timeout_s is None and client.plan.wish in _NEW for client in clients):
            yield from _of_pairs(played, clients, usual)


def _of_kept(led: list[_Led], usual: list[_Led], cache: CachePlan) -> Iterator[str]:
    told = [own for own in led if own.is_good and own.client.plan.wish != "no-store"]
    # What was asked for before what is there already does not take its place.
    good = [
        own
        for own in told
        if not any(other.began_s > own.began_s and other.outcome.ended < own.outcome.ended for other in told)
    ]
    for own in usual:
        for before in good:
            is_there = before.outcome.ended + _TIE_S < own.client.arrived_s
            if is_there and own.began_s < before.outcome.ended + cache.ttl_s - _TIE_S and own.client.plan.wish is None:
                yield f"{own.client.plan.id} called although the answer to {before.client.plan.id} was kept"


def _of_pairs(played: Played, clients: list[Client], usual: list[_Led]) -> Iterator[str]:
    for one, other in combinations(usual, 2):
        is_apart = max(one.began_s, other.began_s) >= min(one.outcome.ended, other.outcome.ended) - _TIE_S
        if not is_apart and max(_in_vain(played, clients, own) for own in (one, other)) < MOST_FLIGHTS:
            yield f"{one.client.plan.id} and {other.client.plan.id} asked the same, and both called"


def _in_vain(played: Played, clients: list[Client], own: _Led) -> int:
    """How many calls of others may have come to nothing while it waited."""
    ends = [
        outcome.ended if outcome is not None else client.done_s
        for client in clients
        if client is not own.client
        for outcome in played.book.outcomes[client.plan.id] or (None,)
        if outcome is None or outcome.ending != "ok" or outcome.cache is CacheUse.STALE
    ]
    return sum(own.client.arrived_s - _TIE_S <= ended <= own.began_s + _TIE_S for ended in ends)


def _question(plan: ClientPlan, cache: CachePlan) -> tuple[object, ...]:
    """Equal where an answer to one is an answer to the other."""
    partition = 0 if cache.is_grouped and plan.caller == 1 else plan.caller
    return (partition, plan.model, plan.topic)
