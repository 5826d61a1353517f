"""What a file declares, for the checks of what refers to it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Names:
    """Every name the file declares, also of entries that are wrong in themselves: one mistake gives one message."""

    providers: frozenset[str]
    models: frozenset[str]
    routes: frozenset[str]
    budgets: frozenset[str]
    limits: frozenset[str]
    teams: frozenset[str]
    keys: frozenset[str]
    provider_keys: Mapping[str, tuple[str, ...]]  # as written, also where the value is an unset variable

    @property
    def callable(self) -> frozenset[str]:
        """What a client can ask for by name."""
        return self.models | self.routes

    def can_be_asked(self, name: str) -> bool:
        """Whether a request for this name can be served; `provider/model` needs no entry."""
        provider, slash, model = name.partition("/")
        return name in self.callable or (bool(slash and model) and provider in self.providers)
