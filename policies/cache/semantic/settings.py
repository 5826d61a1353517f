"""Which requests are answered by meaning, and how carefully."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from policies.cache.semantic.rules import SemanticRules


@dataclass(slots=True, frozen=True)
class EmbeddingSettings:
    """Who makes vectors: the model in `folder`, or `model` of `provider`. A request waits `timeout_s` for its own.
    `origin` tells providers apart that had the same name at different times.
    """

    folder: Path | None
    provider: str
    model: str
    timeout_s: float
    origin: str = ""


@dataclass(slots=True, frozen=True)
class SemanticSettings:
    """Of one route. `ttl_s`: seconds for which an answer may be given. `max_temperature` that a request may name,
    `max_turns` user messages that it may have.
    """

    rules: SemanticRules = SemanticRules()  # noqa: RUF009 - frozen
    ttl_s: float = 3600.0
    max_temperature: float = 0.3
    max_turns: int = 3


@dataclass(slots=True, frozen=True)
class SemanticChoice:
    """`usual` holds for every name that is not among `routes`; None: no answer by meaning."""

    usual: SemanticSettings | None = None
    routes: Mapping[str, SemanticSettings | None] = field(default_factory=dict)
    embedding: EmbeddingSettings | None = None

    def of(self, name: str) -> SemanticSettings | None:
        """Those for a model or route."""
        return self.routes.get(name, self.usual)

    @property
    def is_on(self) -> bool:
        return self.usual is not None or any(one is not None for one in self.routes.values())
