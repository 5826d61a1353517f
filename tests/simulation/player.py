"""Plays scenarios by their seeds, and tells what went wrong."""

import asyncio
import gc
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.fakes.virtual_time import DeadlockError
from tests.simulation.invariants import violations
from tests.simulation.loop import ShufflingLoop
from tests.simulation.scenario import scenario
from tests.simulation.world import Book, Parts, Played, Stage

_REAL = Parts()


@dataclass(slots=True)
class Verdict:
    """One scenario: what is wrong with it, and what happened."""

    seed: int
    problems: list[str]
    story: list[tuple[float, str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        problems = "\n".join(f"  {problem}" for problem in self.problems)
        return f"seed {self.seed}:\n{problems}\nReplay it: python -m tests.simulation --seed {self.seed}"


class Player:
    """Plays one scenario after the other. `cost_nusd` and `requests` are what the series have to show."""

    def __init__(self, parts: Parts = _REAL) -> None:
        self._parts = parts
        self._book = Book()
        self.requests = 0
        self.cost_nusd = 0
        self._complaints: list[tuple[int, str]] = []  # of asyncio, as of an error that nobody looked at

    def play(self, seed: int) -> Verdict:
        """The scenario of a seed, from its first request to its last, and what is wrong with it."""
        stage, problems = self._play(seed)
        problems += [what for whose, what in self._complaints if whose == seed]
        return Verdict(seed, problems, stage.played.story)

    def watch(self, seed: int) -> Played:
        """The same, and everything there is to look at."""
        return self._play(seed)[0].played

    def _play(self, seed: int) -> tuple[Stage, list[str]]:
        book, made = self._book, scenario(seed)
        book.start_over()
        # In half of them the order of what is ready is asyncio's own.
        loop = ShufflingLoop(Random(f"order {seed}") if seed % 2 else None)
        loop.set_exception_handler(lambda _, told: self._complaints.append((seed, _complaint(told))))
        try:
            stage = Stage(made, loop, book, self._parts)
            try:
                loop.run_until_complete(stage.run())
                problems = violations(stage.played)
            except DeadlockError as error:
                problems = [f"it hangs: {error}"]
        finally:
            _abandon(loop)
        settled = [outcome for own in book.outcomes.values() for outcome in own]
        logged = sum(b'"event":"request"' in line for line in book.lines)
        if logged != len(settled):
            problems.append(f"{len(settled)} requests were settled, {logged} were logged")
        self.requests += len(settled)
        self.cost_nusd += sum(outcome.cost_nusd or 0 for outcome in settled)
        return stage, problems

    def first_failure(self, seeds: Iterable[int]) -> Verdict | None:
        """The first scenario with a problem, or what the series miss of all of them; None where all is well."""
        seed = 0
        for seed in seeds:
            verdict = self.play(seed)
            if verdict.problems:
                return verdict
        gc.collect()  # asyncio complains of a task when it is forgotten
        for seed, what in self._complaints:
            return Verdict(seed, [what])
        problems = self._reconcile()
        return Verdict(seed, problems) if problems else None

    def _reconcile(self) -> list[str]:
        """The series against what was settled."""
        metrics = self._book.metrics
        metrics.flush()
        totals = {"signalbox_requests_total": 0.0, "signalbox_cost_usd_total": 0.0}
        for family in metrics.registry.collect():
            for sample in family.samples:
                if sample.name in totals:
                    totals[sample.name] += sample.value
        expected = {"signalbox_requests_total": self.requests, "signalbox_cost_usd_total": self.cost_nusd / 1e9}
        return [
            f"{name} is {totals[name]!r}, {value!r} were settled"
            for name, value in expected.items()
            if abs(totals[name] - value) > 1e-6
        ]


def _complaint(told: dict[str, Any]) -> str:
    return f"asyncio complains: {told.get('message')}: {told.get('exception')!r}"


def _abandon(loop: ShufflingLoop) -> None:
    """Close a loop, also one in which something still hangs."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=1))
    loop.close()
