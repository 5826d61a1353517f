"""The parts of the semantic tier that outlive a Runtime, put together. Only where it is on: they take 4 MB, and a tenth
of a second to load.
"""

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from random import Random
from typing import Any

from gateway.caching.bindings import Bindings
from gateway.caching.flight import Flights
from gateway.caching.own_calls import OwnCalls
from gateway.caching.semantic.board import Board, LessonStore
from gateway.caching.semantic.labels import Labels, Served
from gateway.caching.semantic.local_model import LocalModel
from gateway.caching.semantic.spaces import Spaces
from gateway.caching.semantic.tier import SemanticTier
from gateway.caching.semantic.vectors import Embedder, OneAtATime, asked_of_provider, made_here
from gateway.money.desk import Desk
from gateway.runtime import Runtime
from gateway.telemetry.recorder import Recorder
from policies.cache.semantic.settings import EmbeddingSettings, SemanticChoice
from policies.cache.shelf import Shelf

Start = Callable[[Coroutine[Any, Any, object], str], None]


class SemanticWorks:
    """Of one process. `start` runs work beside the requests."""

    def __init__(self, shelf: Shelf, recorder: Recorder, loop: asyncio.AbstractEventLoop, start: Start) -> None:
        self.spaces = Spaces(Random().random)  # noqa: S311 - which hits are checked is no secret
        self.tier: SemanticTier | None = None  # of the latest Runtime
        self._shelf = shelf
        self._recorder = recorder
        self._metrics = recorder.metrics.semantic_cache
        self._loop = loop
        self.labels = Labels(self.spaces, loop, start, self._metrics)
        self.board = Board(self.spaces, recorder.logger.warning)
        self.labels.on_served = self.board.note_hit
        start(self.board.run(), "lessons")
        shelf.on_gone = self.spaces.drop
        self._metrics.follow(self.spaces, self.labels)

    def stand_behind(
        self,
        runtime: Runtime,
        choice: SemanticChoice,
        flights: Flights,
        desk: Desk | None,
        models: Mapping[Path, LocalModel],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        store: LessonStore | None,
    ) -> SemanticTier:
        """The tier of this Runtime. `models` are those in memory, by their folder as configured; `store` has what
        others learnt.
        """
        self.board.use(store, Bindings(runtime).of)
        calls = OwnCalls(runtime, desk, self._loop, clock, wall_clock)
        self.tier = SemanticTier(
            choice,
            self.spaces,
            self._shelf,
            self.labels,
            calls,
            self._embedder(choice.embedding, calls, models),
            runtime.router.plans,
            flights.by_key.__contains__,
            wall_clock,
            lambda error: self._recorder.logger.error("semantic cache failed", fault=_where(error)),
        )
        self.tier.on_look = self.board.touch
        return self.tier

    async def tell_wrong(self, caller: str, request_id: str) -> Served | None:
        """A caller says that an answer by meaning was wrong, whichever process gave it. Returns what it got; None where
        no such hit is remembered.
        """
        here = self.labels.take_hit(caller, request_id)
        served = await self.board.take_hit(caller, request_id) or here
        if served is not None and not self.labels.tell_wrong(served):
            self.board.tell_absent(served)
        return served

    def turn_off(self) -> None:
        """Nothing is answered by meaning any more."""
        self.spaces.clear()
        self.tier = None

    def counts(self) -> dict[str, int]:
        """How much there is to compare with, and how much was learnt from; `serving` namespaces have learnt enough."""
        spaces = list(self.spaces)
        return {
            "entries": self.spaces.entries,
            "namespaces": len(spaces),
            "serving": sum(space.namespace.threshold != float("inf") for space in spaces),
            "labels": sum(space.labels for space in spaces),
            "hits": sum(space.namespace.hits for space in spaces),
        }

    def _embedder(
        self, settings: EmbeddingSettings | None, calls: OwnCalls, models: Mapping[Path, LocalModel]
    ) -> Embedder | None:
        if settings is None:
            return None
        if settings.folder is not None:
            model = models[settings.folder]
            return OneAtATime(model.id, settings.timeout_s, made_here(model), self._metrics.embedding)
        make = asked_of_provider(settings, calls)
        name = "\0".join((settings.provider, settings.model, settings.origin))
        return OneAtATime(name.encode(), settings.timeout_s, make, self._metrics.embedding)


def _where(error: Exception) -> str:
    """What failed, without its message: that may quote a prompt."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
