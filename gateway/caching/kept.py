"""From a finished request to what is kept of it, and from that to another answer."""

from typing import NamedTuple

from policies.cache.forms import UnfitError, is_good, marked, stream_of, whole_of
from policies.cache.rules import CacheRules
from policies.cache.shelf import Entry, Source
from policies.outcome import CacheUse, Outcome
from providers import lenient_json
from routing.decision import Decision


class Origin(NamedTuple):
    """Whose request an answer was for, for which model or route, with which tags, and when it was asked for (Unix
    seconds). `caller` is the name of the key, empty where there is none.
    """

    key: bytes
    partition: str
    caller: str
    tags: frozenset[str]
    loose_key: bytes | None
    asked_s: float
    asked: str


class Given(NamedTuple):
    """What those who waited for a call get. Where not `is_kept` nobody else does. `parts` are the entries that it was
    put together from.
    """

    entry: Entry
    is_kept: bool = False
    use: CacheUse = CacheUse.SHARED
    parts: tuple[Entry, ...] = ()


def answer_of(
    outcome: Outcome, stream: bytes, origin: Origin, now_s: float, rules: CacheRules, *, is_awaited: bool
) -> tuple[Entry | None, bool]:
    """The answer of a request, and whether it may be given again; None where nobody can use it. `stream` has the events
    of one, `now_s` is Unix time.

    What came to a clean end, but is cut, filtered, too long or of another shape than we know, is for those alone who
    wait for it (`is_awaited`): each would have got such an answer to the same question at the same time.
    """
    call, answered_by = outcome.call, outcome.answered_by
    ending = outcome.ending if call is None else call.ending
    if ending != "ok" or answered_by is None or not answered_by.is_complete or outcome.is_stale:
        return None, False
    reply = outcome.reply
    body = None if reply is None else reply.body
    is_kept = False
    try:
        if body is None or len(body) <= rules.max_entry_bytes:
            whole = whole_of(stream) if body is None else lenient_json.loads(body)
            is_kept = is_good(whole)
            body = marked(whole, outcome.usage)
    except (UnfitError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        is_kept = False  # in a shape that we do not know
    is_kept = is_kept and body is not None and len(body) <= rules.max_entry_bytes
    if body is None or not (is_kept or is_awaited):
        return None, False
    return entry_of(outcome, body, origin, now_s, rules), is_kept


def entry_of(outcome: Outcome, body: bytes, origin: Origin, now_s: float, rules: CacheRules) -> Entry:
    """An answer with all that is known of it."""
    answered_by = outcome.answered_by
    return Entry(
        key=origin.key,
        partition=origin.partition,
        caller=origin.caller,
        tags=origin.tags,
        loose_key=origin.loose_key,
        asked_s=origin.asked_s,
        asked=origin.asked,
        name=outcome.decision.asked,
        body=body,
        usage=outcome.usage,
        finish_reason=outcome.finish_reason,
        stored_s=now_s,
        fresh_until_s=now_s + rules.ttl_s,
        summary=outcome.decision.summary,
        answered_by=b"" if answered_by is None else answered_by.deployment.header,
        cost_nusd=outcome.cost_nusd,
        source=source_of(outcome),
    )


def source_of(outcome: Outcome) -> Source:
    """Where the answer of a request came from."""
    answered_by, route = outcome.answered_by, outcome.decision.route
    if answered_by is None:
        return Source(route)
    deployment = answered_by.deployment
    return Source(route, deployment.model, deployment.id, deployment.provider)


def decision_of(entry: Entry) -> Decision:
    """What was decided when the answer was made. Nobody is a candidate now."""
    if entry.decision is None:
        entry.decision = Decision(entry.name, "cached", (), summary=entry.summary)
    return entry.decision


def head_lines(answered_by: bytes) -> bytes:
    """Header lines of an answer that was paid for by somebody else, and is not kept."""
    return b"x-signalbox-model: %b\r\nx-signalbox-cost-usd: 0\r\n" % answered_by


def stream_from(entry: Entry, *, include_usage: bool) -> bytes:
    """The events of a stream. Raises UnfitError."""
    try:
        whole = lenient_json.loads(entry.body)
    except ValueError as error:
        raise UnfitError("no JSON") from error
    return stream_of(whole, include_usage=include_usage)
