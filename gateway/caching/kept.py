"""From a finished request to what is kept of it, and from that to another answer."""

from typing import NamedTuple

from policies.cache.forms import UnfitError, is_good, marked, stream_of, whole_of
from policies.cache.rules import CacheRules
from policies.cache.shelf import Entry, Source
from policies.outcome import Outcome
from providers import lenient_json
from providers.base import Reply
from routing.decision import Decision


class Origin(NamedTuple):
    """Whose request an answer was for, and with which tags."""

    key: bytes
    partition: str
    tags: frozenset[str]
    loose_key: bytes | None


def entry_of(outcome: Outcome, stream: bytes, origin: Origin, now_s: float, rules: CacheRules) -> Entry | None:
    """What is kept of a request; None where its answer is not one to give again. `stream` has the events of one,
    `now_s` is Unix time.
    """
    answered_by, request = outcome.answered_by, outcome.request
    if outcome.ending != "ok" or answered_by is None or not answered_by.is_complete or outcome.is_stale:
        return None
    try:
        if request.stream:
            whole = whole_of(stream)
        elif outcome.reply is not None and len(outcome.reply.body) <= rules.max_entry_bytes:
            whole = lenient_json.loads(outcome.reply.body)
        else:
            return None
        if not (whole.get("data") if request.operation == "embeddings" else is_good(whole)):
            return None
        body = marked(whole, outcome.usage)
    except (UnfitError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return None  # in a shape that we do not know
    if len(body) > rules.max_entry_bytes:
        return None
    return Entry(
        key=origin.key,
        partition=origin.partition,
        tags=origin.tags,
        loose_key=origin.loose_key,
        name=outcome.decision.asked,
        body=body,
        usage=outcome.usage,
        finish_reason=outcome.finish_reason,
        stored_s=now_s,
        fresh_until_s=now_s + rules.ttl_s,
        summary=outcome.decision.summary,
        answered_by=answered_by.deployment.header,
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
    return Decision(entry.name, "cached", (), summary=entry.summary)


def reply_of(entry: Entry) -> Reply:
    """The whole answer."""
    return Reply(entry.body, entry.usage, entry.finish_reason)


def stream_from(entry: Entry, *, include_usage: bool) -> bytes:
    """The events of a stream. Raises UnfitError."""
    return stream_of(lenient_json.loads(entry.body), include_usage=include_usage)
