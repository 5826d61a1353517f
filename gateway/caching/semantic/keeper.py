"""What of the semantic tier outlives a Runtime, and what the configuration says about it."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.schema import Config
from config.schema_semantic import RouteSemanticCacheConfig, SemanticCacheConfig
from gateway.caching.flight import Flights
from gateway.money.desk import Desk
from gateway.runtime import Runtime
from gateway.telemetry.recorder import Recorder
from policies.cache.semantic.rules import SemanticRules
from policies.cache.semantic.settings import EmbeddingSettings, SemanticChoice, SemanticSettings
from policies.cache.shelf import Shelf

if TYPE_CHECKING:
    from gateway.caching.semantic.board import LessonStore
    from gateway.caching.semantic.labels import Measured, Served
    from gateway.caching.semantic.local_model import LocalModel
    from gateway.caching.semantic.tier import SemanticTier
    from gateway.caching.semantic.works import SemanticWorks
    from gateway.caching.shared import RedisAnswers


class SemanticKeeper:
    """Nothing but this is loaded while nothing is answered by meaning. `folder` is what paths in the configuration
    start from; `works` are the parts, once they were needed.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.folder = Path()
        self.lessons: Path | None = None  # a folder for what is learnt, where there is one
        self.works: SemanticWorks | None = None
        self._shelf = shelf
        self._models: dict[Path, LocalModel] = {}
        self._desk: Desk | None = None
        self._start: Callable[[Coroutine[Any, Any, object], str], None] | None = None

    @property
    def tier(self) -> "SemanticTier | None":
        """Of the latest Runtime; None where nothing is answered by meaning."""
        return None if self.works is None else self.works.tier

    def use(self, desk: Desk | None, start: Callable[[Coroutine[Any, Any, object], str], None]) -> None:
        """Who keeps the books, and what runs work beside the requests."""
        self._desk, self._start = desk, start

    def prepare(self, choice: SemanticChoice | None) -> None:
        """Have what the next Runtime needs in memory; in any thread, up to a second. Raises ValueError."""
        if choice is None:
            return
        from gateway.caching.semantic.local_model import LocalModel  # noqa: PLC0415 - only where it is on
        from policies.cache.semantic.verifier import Verifier  # noqa: PLC0415

        embedding = choice.embedding
        Verifier.load(embedding is not None)
        if embedding is not None and embedding.folder is not None:
            known = self._models.get(embedding.folder)
            self._models = {embedding.folder: known or LocalModel(self.folder / embedding.folder)}

    def stand_behind(
        self,
        runtime: Runtime,
        flights: Flights,
        recorder: Recorder,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        redis: "RedisAnswers | None" = None,
    ) -> "tuple[SemanticTier, ...]":
        """The tier of this Runtime; nothing where it is off, and then all that was learnt is forgotten here. What is
        learnt is shared where answers are, in `redis`, or among the workers of this machine.
        """
        choice = None if runtime.cache is None else runtime.cache.semantic
        if choice is None or self._start is None:
            self.turn_off()
            return ()
        if self.works is None:
            from gateway.caching.semantic.works import SemanticWorks  # noqa: PLC0415

            self.works = SemanticWorks(self._shelf, recorder, loop, self._start)
        store = self._store(redis)
        return (self.works.stand_behind(runtime, choice, flights, self._desk, self._models, clock, wall_clock, store),)

    def _store(self, redis: "RedisAnswers | None") -> "LessonStore | None":
        if redis is not None:
            from gateway.caching.shared_lessons import RedisLessons  # noqa: PLC0415 - imports redis

            return RedisLessons(redis)
        if self.lessons is None:
            return None
        from gateway.caching.semantic.lesson_files import LessonFiles  # noqa: PLC0415 - only where it is on

        return LessonFiles(self.lessons)

    def turn_off(self) -> None:
        """Nothing is answered by meaning any more."""
        if self.works is not None:
            self.works.turn_off()

    async def tell_wrong(self, caller: str, request_id: str) -> "Served | None":
        """See `SemanticWorks.tell_wrong`."""
        return None if self.works is None else await self.works.tell_wrong(caller, request_id)

    def forget(self, partition: str) -> None:
        """What was learnt from somebody who is gone."""
        if self.works is not None:
            self.works.spaces.forget(partition)

    def measured(self) -> "dict[str, Measured]":
        """By route, what checks of hits have shown."""
        return {} if self.works is None else self.works.labels.measured()

    def counts(self) -> dict[str, int]:
        """See `SemanticWorks.counts`."""
        return {} if self.works is None else self.works.counts()


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
