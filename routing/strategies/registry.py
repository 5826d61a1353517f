"""Finds strategies by their KIND: one file in this package is one strategy, and there is no list to edit.

A strategy's file has KIND, `build(spec) -> Strategy`, and optionally NEEDS, the `Spec` fields it cannot do without.
"""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

import routing.strategies
from routing.choice import Choice
from routing.classifier import Boundaries
from routing.decision import Deployment
from routing.learned.live import LiveRouter


@dataclass(slots=True, frozen=True)
class Spec:
    """What a route says about its strategy. `tiers` are model names per tier, the least demanding first.

    `weights` has quality, cost and latency; `min_quality_vs_best` is a share 0..1.
    """

    tiers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    boundaries: Boundaries | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    min_quality_vs_best: float = 0.98
    router: LiveRouter | None = None


class Strategy(Protocol):
    """Ranks the deployments of a choice. `is_fixed`: it never looks at the request or at the present."""

    @property
    def is_fixed(self) -> bool: ...

    def rank(self, choice: Choice) -> list[Deployment]:
        """A permutation of the deployments of `choice.groups`, best first. Pure; a deployment stands once."""
        ...


Build = Callable[[Spec], Strategy]


def strategies() -> dict[str, Build]:
    """Every strategy this installation has: kind -> what builds it for a route."""
    found: dict[str, Build] = {}
    for module_info in pkgutil.iter_modules(routing.strategies.__path__):
        module = import_module(f"{routing.strategies.__name__}.{module_info.name}")
        kind = getattr(module, "KIND", None)
        if kind is not None:
            found[kind] = module.build
    return found
