"""Whether a request fits a model's context window, by estimate: an exact count would cost 0.2 s and 69 MB at its first
use, and milliseconds for the long prompts that this is about.

`providers.tokens` says how far the estimate is off. Two borders follow from that: below `SURE` a request is taken to
fit (the estimate is up to 15 % low for English, code, JSON and most languages), above `IMPOSSIBLE` it is taken not to
(the estimate is up to 50 % high). In between the request goes to a larger model where there is one, else the provider
has the last word: to refuse wrongly what would have fitted is worse than an error of the provider.
"""

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from providers.base import Target
from providers.tokens import estimate

if TYPE_CHECKING:
    from routing.ask import Ask

SURE = 1 / 1.15
IMPOSSIBLE = 1.5
# Left for the answer where a request sets no limit: providers cut the answer to what the window has left.
_RESERVED = 256
# Media whose tokens have nothing to do with the bytes they are written in.
_MEDIA = frozenset({"vision", "audio", "pdf"})


class Size:
    """How large a request is; counted only where its bytes do not prove that it fits: a token is at least one byte."""

    __slots__ = ("_ask", "_bytes", "_tokens", "output_tokens")

    def __init__(self, ask: "Ask") -> None:
        self._ask = ask
        self._tokens: int | None = None
        self._bytes = ask.body_bytes if ask.body_bytes and _MEDIA.isdisjoint(ask.needs().capabilities) else inf
        self.output_tokens = ask.max_output_tokens()

    def filled(self, target: Target) -> float:
        """Input as a share of what the window leaves for it; 0 where it is known to fit, `inf` where nothing is left.

        The output limit that a request sets counts whole, as providers count it.
        """
        window = target.context_window
        if window is None:
            return 0.0
        output = self.output_tokens
        if output is None:
            output = _RESERVED
        elif target.max_output_tokens is not None and output > target.max_output_tokens:
            output = target.max_output_tokens
        if self._ask.operation == "embeddings":
            output = 0
        room = window - output
        if self._bytes <= room:
            return 0.0
        return self._input_tokens() / room if room > 0 else inf

    def _input_tokens(self) -> int:
        if self._tokens is None:
            ask = self._ask
            self._tokens = ask.input_tokens() if ask.operation == "chat" else _longest(ask.body)
        return self._tokens


def _longest(body: Mapping[str, Any]) -> int:
    """Tokens of the longest input or prompt: each of a list has the window to itself."""
    value = body.get("input", body.get("prompt"))
    if isinstance(value, str):
        return estimate(value)
    if not isinstance(value, list) or not value:
        return 0
    if isinstance(value[0], int):
        return len(value)
    texts = [item for item in value if isinstance(item, str)]
    if texts:
        return max(estimate(text) for text in texts)
    return max((len(item) for item in value if isinstance(item, list)), default=0)
