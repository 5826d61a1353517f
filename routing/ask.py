"""One request as routing sees it. What costs time is worked out when somebody asks for it, and once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.base import Operation
from providers.tokens import estimate_prompt
from routing.classifier import DEFAULT_BOUNDARIES, Boundaries, Classification, classify
from routing.features import Features, extract
from routing.needs import Needs, needs_of
from routing.preferences import NO_PREFERENCES, Preferences
from routing.signals.turn import last_turn

_TAGS = b"x-signalbox-tags"
_MAX_TAGS = 32
_MAX_TAG_CHARS = 128
# Output tokens to reckon with where neither the request nor experience says anything.
USUAL_OUTPUT_TOKENS = 300


@dataclass(slots=True)
class Ask:
    """`name` is the model or route to decide for, `body_bytes` the length of the body as it came.

    `allowed` are the models that routes may choose for this caller; None: all. `headers` have lower-case names.
    `arrived_s` is Unix time. `key_tags` are tags that every request of the caller has.
    """

    name: str
    body: Mapping[str, Any]
    body_bytes: int = 0
    operation: Operation = "chat"
    is_stream: bool = False
    key: str = "anonymous"
    allowed: frozenset[str] | None = None
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    arrived_s: float = 0.0
    preferences: Preferences = NO_PREFERENCES
    key_tags: frozenset[str] = frozenset()
    _features: Features | None = None
    _needs: Needs | None = None
    _tokens: int | None = None
    _tags: frozenset[str] | None = None
    _text: str | None = None

    def features(self) -> Features:
        """What the signals measure."""
        if self._features is None:
            self._features = extract(self.body)
        return self._features

    def text(self) -> str:
        """What the person wrote last, as the signals see it."""
        if self._text is None:
            self._text = last_turn(self.body).text
        return self._text

    def classify(self, boundaries: Boundaries = DEFAULT_BOUNDARIES) -> Classification:
        """The classifier's word, by these boundaries."""
        return classify(self.features(), boundaries)

    def needs(self) -> Needs:
        """What a model has to be capable of."""
        if self._needs is None:
            self._needs = needs_of(self.operation, self.body, is_stream=self.is_stream)
        return self._needs

    def input_tokens(self) -> int:
        """Estimated tokens of the whole input."""
        if self._tokens is None:
            self._tokens = estimate_prompt(self.body)
        return self._tokens

    def is_tool_result(self) -> bool:
        """Whether a tool's answer came last: the turn goes on, and so should its decision."""
        messages = self.body.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        return isinstance(last, dict) and last.get("role") in ("tool", "function")

    def max_output_tokens(self) -> int | None:
        """The output limit that the request sets; None where it sets none."""
        limit = self.body.get("max_completion_tokens") or self.body.get("max_tokens")
        return limit if isinstance(limit, int) and limit > 0 else None

    def tags(self) -> frozenset[str]:
        """The tags of the request, blank-free words between commas, and those of its key."""
        if _TAGS not in self.headers:
            return self.key_tags
        if self._tags is None:
            self._tags = self.key_tags | tags_of(self.headers)
        return self._tags

    def application(self) -> str:
        """What the request belongs to, for statistics: the tag `application=...`, else the caller's key."""
        if _TAGS in self.headers or self.key_tags:
            for tag in self.tags():
                if tag.startswith("application="):
                    return tag.removeprefix("application=")
        return self.key


def tags_of(headers: Mapping[bytes, bytes]) -> frozenset[str]:
    """The tags that a request brings along: blank-free words between commas, as many as are allowed."""
    text = headers[_TAGS].decode("latin-1")
    tags = [tag.strip()[:_MAX_TAG_CHARS] for tag in text.split(",", _MAX_TAGS)[:_MAX_TAGS]]
    return frozenset(tag for tag in tags if tag)
