"""A request whose answer may be kept, and under what: everything that the tiers of the cache ask about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.attempt_run import Sink
from gateway.auth import ANONYMOUS
from gateway.caching.directives import MAX_COST, NO_WISH, TAGS, Wish, beside_the_body, tags_beside, wish_of
from gateway.caching.kept import Origin
from gateway.runtime import Caller
from policies.cache.keying import key_of, loose_key_of, loses_digits, names_twice, unfit
from policies.cache.rules import CacheRules
from providers.base import Request

_CACHE_CONTROL, _CACHE, _EXPLAIN = b"cache-control", b"x-signalbox-cache", b"x-signalbox-explain"
_ROUTE = b"x-signalbox-route"
_NOTHING: Mapping[str, Any] = {}
# Whole or streamed, and if streamed with or without its usage: what can be passed on as it comes.
Form = tuple[bytes, bool, bool]


@dataclass(slots=True)
class Question:
    """What the pipeline is asked (see its `run`), and how the cache knows it.

    `name` is the model or route, `partition` who may share the answer, `more` what stands beside the body and decides
    who answers; `key` is made of all of it. `loose_key` is that of the same words in other letters; None until
    somebody needed it, or where the letter counts. `waited_s` is how long it waited for calls of others.
    `is_new`: its key was made for it.
    """

    request: Request
    caller: Caller
    sink: Sink
    started: float
    timeout_s: float | None
    headers: Mapping[bytes, bytes]
    wish: Wish
    name: str
    partition: str
    more: Mapping[str, Any]
    key: bytes
    is_new: bool = True
    loose_key: bytes | None = None
    waited_s: float = 0.0

    @property
    def form(self) -> Form:
        """What has to be equal for an answer to be passed on as it comes."""
        return self.key, self.request.stream, self.request.include_usage

    @property
    def is_usual(self) -> bool:
        """Whether it may depend on a call of somebody else: who has less time than usual, or wants it new, may not."""
        return self.timeout_s is None and (self.wish is NO_WISH or self.wish.may_join)

    @property
    def is_ambiguous(self) -> bool:
        """Whether the body names a member twice: who reads it decides which of them counts, so that nobody can tell
        what an answer to it answers.
        """
        return names_twice(self.request.raw, self.request.body)

    def origin(self, asked_s: float) -> Origin:
        """What its answer is kept with; `asked_s` is Unix time."""
        tags = tags_beside(self.caller, self.headers)
        return Origin(self.key, self.partition, _name_of(self.caller), tags, self.loose_key, asked_s, self.name)

    def find_loose_key(self) -> bytes | None:
        """`loose_key`, made now."""
        self.loose_key = loose_key_of(self.request.operation, self.name, self.request.body, self.partition, self.more)
        return self.loose_key


def question_of(
    rules: CacheRules,
    request: Request,
    caller: Caller,
    sink: Sink,
    started: float,
    timeout_s: float | None,
    headers: Mapping[bytes, bytes],
) -> Question | None:
    """None where no answer to this may be kept or given again. Raises RefusedError for a word that our own header does
    not have.
    """
    wish = wish_of(headers) if _CACHE_CONTROL in headers or _CACHE in headers else NO_WISH
    name = request.model if _ROUTE not in headers else headers[_ROUTE].decode("latin-1").strip()
    # Who wants to know how it is decided gets a decision: what was kept was decided before.
    is_fit = (wish.may_use or wish.may_keep) and headers.get(_EXPLAIN) != b"1" and _may_use(caller, name, request)
    if not is_fit or unfit(request.operation, request.body) is not None or loses_digits(request.raw):
        return None
    is_plain = not (caller.tags or caller.candidates is not None or TAGS in headers or MAX_COST in headers)
    more = _NOTHING if is_plain else beside_the_body(caller, headers)
    partition = rules.partition(_name_of(caller))
    key = key_of(request.operation, name, request.body, partition, more)
    return Question(request, caller, sink, started, timeout_s, headers, wish, name, partition, more, key)


def allows_asking(headers: Mapping[bytes, bytes]) -> bool:
    """Whether somebody may be asked where nothing is kept. Raises RefusedError as `question_of` does."""
    return not (_CACHE_CONTROL in headers or _CACHE in headers) or wish_of(headers).may_ask


def is_bare(headers: Mapping[bytes, bytes]) -> bool:
    """Whether nothing beside the body decides the answer, or whether there may be one."""
    return not (
        _CACHE_CONTROL in headers
        or _CACHE in headers
        or _EXPLAIN in headers
        or _ROUTE in headers
        or TAGS in headers
        or MAX_COST in headers
    )


def _name_of(caller: Caller) -> str:
    """Empty for callers without a key: a key may be called as they are in the log."""
    return "" if caller is ANONYMOUS else caller.name


def _may_use(caller: Caller, name: str, request: Request) -> bool:
    """Whether the caller may ask for this, also where it could once. (Who may not is refused by the pipeline.)"""
    others = request.body.get("models")
    return caller.may_use(name) and (
        not others or (type(others) is list and all(type(one) is str and caller.may_use(one) for one in others))
    )
