"""What of the semantic tier outlives a Runtime: namespaces, labels, the embedder in memory."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

from config.schema import Config
from config.schema_semantic import RouteSemanticCacheConfig, SemanticCacheConfig
from gateway.caching.flight import Flights
from gateway.caching.own_calls import OwnCalls
from gateway.caching.semantic.labels import Labels, Measured
from gateway.caching.semantic.local_model import LocalModel
from gateway.caching.semantic.spaces import Spaces
from gateway.caching.semantic.tier import SemanticTier
from gateway.caching.semantic.vectors import Embedder, OneAtATime, asked_of_provider, made_here
from gateway.money.desk import Desk
from gateway.runtime import Runtime
from gateway.telemetry.recorder import Recorder
from gateway.telemetry.semantic_metrics import SemanticMetrics
from policies.cache.semantic.rules import SemanticRules
from policies.cache.semantic.settings import EmbeddingSettings, SemanticChoice, SemanticSettings
from policies.cache.semantic.verifier import Verifier
from policies.cache.shelf import Entry, Shelf

Start = Callable[[Coroutine[Any, Any, object], str], None]


class SemanticKeeper:
    """`folder` is what paths in the configuration start from."""

    def __init__(self, shelf: Shelf) -> None:
        self.folder = Path()
        self.tier: SemanticTier | None = None  # of the latest Runtime
        self._shelf = shelf
        self._spaces = Spaces(Random().random)  # noqa: S311 - which hits are checked is no secret
        self._labels: Labels | None = None
        self._models: dict[Path, LocalModel] = {}
        self._desk: Desk | None = None
        self._start: Start | None = None

    def use(self, desk: Desk, start: Start) -> None:
        """Who keeps the books, and what runs work beside the requests."""
        self._desk, self._start = desk, start

    def prepare(self, choice: SemanticChoice | None) -> None:
        """Have what the next Runtime needs in memory; in any thread, up to a second. Raises ValueError."""
        if choice is None:
            return
        embedding = choice.embedding
        Verifier.load(embedding is not None)
        if embedding is not None and embedding.folder is not None:
            folder = self.folder / embedding.folder
            self._models = {folder: self._models.get(folder) or LocalModel(folder)}

    def stand_behind(
        self,
        runtime: Runtime,
        flights: Flights,
        recorder: Recorder,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> tuple[SemanticTier, ...]:
        """The tier of this Runtime; nothing where it is off, and then all that was learnt is forgotten."""
        choice = None if runtime.cache is None else runtime.cache.semantic
        metrics = recorder.metrics.semantic_cache
        if choice is None or self._start is None:
            self.turn_off()
            return ()
        if self._labels is None:
            self._labels = Labels(self._spaces, loop, self._start, metrics)
            self._shelf.on_gone = self._spaces.drop
            metrics.follow(self._spaces, self._labels)
        calls = OwnCalls(runtime, self._desk, loop, clock, wall_clock)
        self.tier = SemanticTier(
            choice,
            self._spaces,
            self._shelf,
            self._labels,
            calls,
            self._embedder(choice.embedding, calls, metrics),
            runtime.router.plans,
            flights.by_key.__contains__,
            wall_clock,
            lambda error: recorder.logger.error("semantic cache failed", fault=_where(error)),
        )
        return (self.tier,)

    def turn_off(self) -> None:
        """Nothing is answered by meaning any more."""
        self._spaces.clear()
        self.tier = None

    def tell_wrong(self, caller: str, request_id: str) -> Entry | None:
        """See `Labels.tell_wrong`."""
        return None if self._labels is None else self._labels.tell_wrong(caller, request_id)

    def forget(self, partition: str) -> None:
        """What was learnt from somebody who is gone."""
        self._spaces.forget(partition)

    def measured(self) -> dict[str, Measured]:
        """By route, what checks of hits have shown."""
        return {} if self._labels is None else self._labels.measured()

    def counts(self) -> dict[str, int]:
        """How much there is to compare with, and how much was learnt from; `serving` namespaces have learnt enough."""
        spaces = list(self._spaces)
        return {
            "entries": self._spaces.entries,
            "namespaces": len(spaces),
            "serving": sum(space.namespace.threshold != float("inf") for space in spaces),
            "labels": sum(space.labels for space in spaces),
            "hits": sum(space.namespace.hits for space in spaces),
        }

    def _embedder(
        self, settings: EmbeddingSettings | None, calls: OwnCalls, metrics: SemanticMetrics
    ) -> Embedder | None:
        if settings is None:
            return None
        if settings.folder is not None:
            model = self._models[self.folder / settings.folder]
            return OneAtATime(model.id, settings.timeout_s, made_here(model), metrics.embedding)
        make = asked_of_provider(settings, calls)
        name = "\0".join((settings.provider, settings.model, settings.origin))
        return OneAtATime(name.encode(), settings.timeout_s, make, metrics.embedding)


def _where(error: Exception) -> str:
    """What failed, without its message: that may quote a prompt."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"


def semantic_choice(config: Config) -> SemanticChoice | None:
    """What the file says; None where nothing is answered by meaning."""
    usual = config.policies.cache.semantic
    routes = {
        name: _settings(usual, route.semantic_cache)
        for name, route in config.routes.items()
        if route.semantic_cache is not None
    }
    choice = SemanticChoice(_settings(usual, None), routes, _embedding(config))
    return choice if choice.is_on else None


def _settings(usual: SemanticCacheConfig, own: RouteSemanticCacheConfig | None) -> SemanticSettings | None:
    given = usual if own is None else usual.model_copy(update=own.model_dump(exclude_none=True))
    if not given.enabled:
        return None
    rules = SemanticRules(given.max_wrong_hits, given.max_entries, given.shadow_ratio)
    return SemanticSettings(rules, given.ttl_s, given.max_temperature, given.max_turns)


def _embedding(config: Config) -> EmbeddingSettings | None:
    given = config.policies.cache.semantic.embedding
    if given is None:
        return None
    folder = None if given.model_dir is None else Path(given.model_dir)
    row = None if given.provider is None else config.providers[given.provider]
    origin = "" if row is None else f"{row.kind} {row.base_url}"
    return EmbeddingSettings(folder, given.provider or "", given.model or "", given.timeout_s, origin)
