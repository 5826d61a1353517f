"""Embeddings are kept for each input by itself: a batch pays for what is new in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gateway.caching.kept import Origin, source_of
from policies.cache.forms import tight
from policies.cache.keying import key_of
from policies.cache.rules import CacheRules
from policies.cache.shelf import Entry, Shelf
from policies.outcome import Outcome
from providers.base import Reply, Request
from providers.bodyedit import edit

_MOST_INPUTS = 2048  # what OpenAI takes in one request


@dataclass(slots=True)
class Batch:
    """The inputs of a request, the key of each, and the entry of those that are kept."""

    items: Sequence[Any]
    keys: list[bytes]
    kept: list[Entry | None]

    @property
    def is_whole(self) -> bool:
        """Nothing is new."""
        return None not in self.kept


def batch_of(
    shelf: Shelf, name: str, body: Mapping[str, Any], partition: str, more: Mapping[str, Any], since_s: float
) -> Batch | None:
    """None where the inputs are in a form that we do not know. A list of numbers is one text as tokens. Entries of
    before `since_s` (Unix time) will not do.
    """
    given = body["input"]
    items = given if isinstance(given, list) and given and isinstance(given[0], str | list) else [given]
    if len(items) > _MOST_INPUTS or any(type(item) is not type(items[0]) for item in items):
        return None
    keys = [key_of("embeddings", name, {**body, "input": item}, partition, more) for item in items]
    found = [shelf.get(key) for key in keys]
    return Batch(items, keys, [None if entry is None or entry.stored_s < since_s else entry for entry in found])


def rest_of(request: Request, batch: Batch) -> Request:
    """The request for what is new in it."""
    if all(entry is None for entry in batch.kept):
        return request
    new = [item for item, entry in zip(batch.items, batch.kept, strict=True) if entry is None]
    raw = edit(request.raw, request.body, {"input": orjson.dumps(new)})
    return replace(request, body={**request.body, "input": new}, raw=raw)


def entries_of(outcome: Outcome, batch: Batch, origin: Origin, now_s: float, rules: CacheRules) -> list[Entry]:
    """One for each new input, in their order. Raises ValueError, TypeError or LookupError for an answer that does not
    have them.

    Tokens and cost of a batch are spread by the length of its inputs, to the last one.
    """
    assert outcome.reply is not None
    found = orjson.loads(outcome.reply.body)
    rows, answered_by = _in_order(found["data"]), outcome.answered_by
    new = [place for place, entry in enumerate(batch.kept) if entry is None]
    if len(rows) != len(new) or answered_by is None:
        raise ValueError("not as many embeddings as inputs")
    lengths = [len(batch.items[place]) or 1 for place in new]
    tokens = _spread(int((found.get("usage") or {}).get("prompt_tokens") or 0), lengths)
    costs = _spread(outcome.cost_nusd, lengths) if outcome.cost_nusd is not None else [None] * len(new)
    source = source_of(outcome)
    return [
        Entry(
            key=batch.keys[place],
            partition=origin.partition,
            name=outcome.decision.asked,
            body=tight(orjson.dumps({"embedding": row["embedding"], "tokens": token, "model": found["model"]})),
            usage=None,
            finish_reason=None,
            stored_s=now_s,
            fresh_until_s=now_s + rules.ttl_s,
            summary=outcome.decision.summary,
            answered_by=answered_by.deployment.header,
            cost_nusd=cost,
            tags=origin.tags,
            caller=origin.caller,
            asked_s=origin.asked_s,
            asked=origin.asked,
            source=source,
        )
        for place, row, token, cost in zip(new, rows, tokens, costs, strict=True)
    ]


def reply_from(batch: Batch, made: Sequence[Entry] = ()) -> Reply:
    """The answer to the whole request: what was kept, and `made` for the rest. The former counts as cached tokens."""
    new = iter(made)
    data, total, cached, model = [], 0, 0, ""
    for index, entry in enumerate(batch.kept):
        told = orjson.loads((entry or next(new)).body)
        data.append({"object": "embedding", "index": index, "embedding": told["embedding"]})
        total += told["tokens"]
        cached += told["tokens"] if entry is not None else 0
        model = told["model"]
    usage = {"prompt_tokens": total, "total_tokens": total, "prompt_tokens_details": {"cached_tokens": cached}}
    if batch.is_whole:
        usage["is_cached"] = True
    return Reply(orjson.dumps({"object": "list", "data": data, "model": model, "usage": usage}), None)


def as_one(batch: Batch) -> Entry:
    """A batch of which nothing is new, as one answer: as old as its oldest part."""
    kept = [entry for entry in batch.kept if entry is not None]
    oldest = min(kept, key=lambda entry: entry.stored_s)
    known = [entry.cost_nusd for entry in kept if entry.cost_nusd is not None]
    return replace(oldest, body=reply_from(batch).body, cost_nusd=sum(known) if known else None)


def _in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By their `index`, where each has its own: some servers answer in the order in which they got ready."""
    by_index = {row.get("index"): row for row in rows}
    if by_index.keys() == set(range(len(rows))):
        return [by_index[index] for index in range(len(rows))]
    return rows


def _spread(total: int, lengths: Sequence[int]) -> list[int]:
    """`total` in whole parts that are as long as `lengths` say and add up to it."""
    parts, given, seen, whole = [], 0, 0, sum(lengths)
    for length in lengths:
        seen += length
        upto = total * seen // whole
        parts.append(upto - given)
        given = upto
    return parts
