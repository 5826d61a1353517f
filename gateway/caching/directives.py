"""What a caller says about kept answers, as RFC 9111 directives in Cache-Control or the same in x-signalbox-cache; and
what else stands beside a body and changes its answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from gateway.runtime import Caller
from gateway.wire import refusals
from routing.ask import tags_of

_CACHE_CONTROL, _OURS = b"cache-control", b"x-signalbox-cache"
TAGS, MAX_COST = b"x-signalbox-tags", b"x-signalbox-max-cost-usd"
_OUR_WORDS = frozenset({"no-store", "no-cache", "only-if-cached"})


@dataclass(slots=True, frozen=True)
class Wish:
    """Whether a kept answer may be given (`max_age_s` seconds old at most), whether the new one may be kept, and
    whether somebody may be asked at all.
    """

    may_use: bool = True
    may_keep: bool = True
    may_ask: bool = True
    max_age_s: float = inf

    @property
    def may_join(self) -> bool:
        """Whether an answer that somebody else asked for a moment ago will do."""
        return self.may_use and self.may_ask and self.max_age_s > 0


NO_WISH = Wish()


def wish_of(headers: Mapping[bytes, bytes]) -> Wish:
    """Raises RefusedError (400) for a word in our own header that it does not have; of Cache-Control only those are
    read that concern us.
    """
    words: dict[str, str] = {}
    for name in (_CACHE_CONTROL, _OURS):
        said: dict[str, str] = {}
        for part in headers[name].decode("latin-1").lower().split(",") if name in headers else ():
            word, _, value = part.strip().partition("=")
            value = value.strip('"')
            if name == _OURS and word not in _OUR_WORDS and not (word == "max-age" and _is_number(value)):
                raise refusals.invalid_header(
                    _OURS.decode(), "may say no-store, no-cache, only-if-cached or max-age=SECONDS."
                )
            said.setdefault(word, value)  # the first counts: RFC 9111, 4.2.1
        words |= said
    may_ask = "only-if-cached" not in words
    if "no-store" in words:
        return Wish(may_use=False, may_keep=False, may_ask=may_ask)
    max_age = words.get("max-age")
    return Wish(
        may_use="no-cache" not in words,
        may_ask=may_ask,
        max_age_s=inf if max_age is None else _seconds(max_age),
    )


def _seconds(text: str) -> float:
    """None at all where nobody knows what was meant: then nothing is young enough."""
    return float(text[:10]) if _is_number(text) else 0.0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def beside_the_body(caller: Caller, headers: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    """What decides who answers and is not in the body: also of the caller, so that nobody gets the answer of a model
    that its key may not use, or not any more.
    """
    more: dict[str, Any] = {
        name.decode(): headers[name].decode("latin-1") for name in (TAGS, MAX_COST) if name in headers
    }
    if caller.tags:
        more["tags"] = sorted(caller.tags)
    if caller.candidates is not None:
        more["models"] = sorted(caller.candidates)
    return more


def tags_beside(caller: Caller, headers: Mapping[bytes, bytes]) -> frozenset[str]:
    """Those of the key and of the request."""
    return caller.tags | tags_of(headers) if TAGS in headers else caller.tags
