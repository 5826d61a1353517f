"""What the configuration says about keys: the ones it has itself, and what keys made at run time may refer to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from config.schema import Config
from config.schema_keys import KeyConfig, Role
from config.schema_money import TeamConfig
from policies.scopes import ScopeBook


@dataclass(slots=True, frozen=True)
class Admin:
    """Somebody who may use the control plane."""

    name: str
    role: Role


@dataclass(slots=True, frozen=True)
class KeyRing:
    """Part of a Runtime. `admins` is by the SHA-256 hex digest of their secrets. `scopes` are budgets and limits."""

    keys: tuple[KeyConfig, ...] = ()
    teams: Mapping[str, TeamConfig] = field(default_factory=dict)
    budgets: frozenset[str] = frozenset()
    limits: frozenset[str] = frozenset()
    admins: Mapping[str, Admin] = field(default_factory=dict)
    scopes: ScopeBook = field(default_factory=lambda: ScopeBook(Config()))

    def team_chain(self, name: str | None) -> list[TeamConfig]:
        """The team and everything above it, in that order. Raises KeyError for a team that is not configured."""
        chain = []
        while name is not None:
            chain.append(self.teams[name])
            name = self.teams[name].parent
        return chain


def ring_of(config: Config) -> KeyRing:
    """The part of a valid configuration that keys depend on."""
    return KeyRing(
        keys=config.keys,
        teams=config.teams,
        budgets=frozenset(config.budgets),
        limits=frozenset(config.limits),
        admins={key.sha256: Admin(key.name, key.role) for key in config.admin_keys},
        scopes=ScopeBook(config),
    )


def digest_of(secret: bytes) -> str:
    """How a secret is kept: its SHA-256 as 64 hexadecimal digits. Secrets are random, so it needs no salt."""
    return sha256(secret).hexdigest()
