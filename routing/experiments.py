"""What a request is part of: the arm of an experiment, a canary, a mirror. Which traffic tries what, nothing more.

Assignments need no memory: they are hashes, so that every worker, and the next process, makes the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import log1p
from random import Random

from config.schema_experiments import ArmConfig, ExperimentConfig, MirrorConfig, Unit
from config.schema_routes import RouteConfig
from routing.affinity import session_of
from routing.ask import Ask

_MAX_USER = 512


@dataclass(slots=True, unsafe_hash=True)
class Assignment:
    """What was drawn for one request. A value: it is never changed once made. (Freezing it would cost a microsecond.)

    `arm` is the experiment's arm; at most one of `use` (a model or route that answers instead) and `strategy` (instead
    of the route's) says what it means. `canary` is the model to try first. `mirror` is the model that gets a copy, if
    the caller's answer is decided and fewer than `Experiments.max_mirrors` copies are under way.
    """

    arm: str | None = None
    use: str | None = None
    strategy: str | None = None
    canary: str | None = None
    mirror: str | None = None

    @property
    def is_canary(self) -> bool:
        """Whether the canary's model goes first."""
        return self.canary is not None


@dataclass(slots=True, frozen=True)
class _Arm:
    name: str
    share: float
    salt: bytes
    use: str | None
    strategy: str | None


@dataclass(slots=True, frozen=True)
class Experiments:
    """All that one route tries out, compiled when the configuration is loaded."""

    by: Unit = "session"
    arms: tuple[_Arm, ...] = ()
    canary: str | None = None
    canary_share: float = 0.0
    canary_salt: bytes = b""
    mirror: MirrorConfig | None = None

    @property
    def max_mirrors(self) -> int:
        """Copies of requests that may be under way at the same time."""
        return self.mirror.max_in_flight if self.mirror is not None else 0

    def assign(self, ask: Ask, rng: Random, session: bytes | None = None) -> Assignment:
        """Draw for one request; `session` is worked out here where it is needed and not given.

        A canary is tried on requests that no arm sends elsewhere: otherwise it would take from each arm what the arm is
        there to measure. Whole conversations are in a canary, so that none loses its prompt cache in every other turn.
        """
        if session is None and (self.canary is not None or (self.arms and self.by == "session")):
            session = session_of(ask.headers, ask.body, ask.key)
        arm = self._arm(ask, rng, session or b"") if self.arms else None
        canary = None
        if self.canary is not None and (arm is None or (arm.use is None and arm.strategy is None)):
            canary = self.canary if _share(self.canary_salt, session or b"") < self.canary_share else None
        return Assignment(
            arm=arm.name if arm is not None else None,
            use=arm.use if arm is not None else None,
            strategy=arm.strategy if arm is not None else None,
            canary=canary,
            mirror=self.mirror_of(ask, rng) if self.mirror is not None else None,
        )

    def mirror_of(self, ask: Ask, rng: Random) -> str | None:
        """The model that gets a copy of this request, or None. A key's `models` hold for copies too."""
        mirror = self.mirror
        if mirror is None or (ask.allowed is not None and mirror.model not in ask.allowed):
            return None
        return mirror.model if rng.random() < mirror.share else None

    def _arm(self, ask: Ask, rng: Random, session: bytes) -> _Arm | None:
        if self.by == "session":
            unit: bytes | None = session
        elif self.by == "key":
            unit = ask.key.encode("utf-8", "surrogatepass")
        elif self.by == "user":
            unit = _user(ask)
        else:
            unit = rng.randbytes(8)
        return arm_of(self.arms, unit) if unit is not None else None


def arm_of(arms: Sequence[_Arm], unit: bytes) -> _Arm:
    """The arm of a unit: the one whose exponential clock, running at the rate of its share, rings first.

    This is weighted rendezvous hashing. A unit only ever moves to an arm whose share grew relative to its own arm's,
    whatever the order of the arms. With two arms that is the least possible; with more, a change of total size d moves
    at most 2d/(1+d), and no assignment without memory can promise less (Bavarian et al., "Optimality of correlated
    sampling strategies"). Arms laid side by side on a line would move units between arms whose shares did not change.
    """
    best = arms[0]
    first = float("inf")
    for arm in arms:
        rings = -log1p(-_share(arm.salt, unit)) / arm.share
        if rings < first:
            best, first = arm, rings
    return best


def experiments_of(route: str, config: RouteConfig) -> Experiments | None:
    """What a route tries out; None where that is nothing."""
    canary = config.canary if config.canary is not None and config.canary.share > 0 else None
    if canary is None and config.experiment is None and config.mirror is None:
        return None
    return Experiments(
        by=config.experiment.by if config.experiment is not None else "session",
        arms=_arms(config.experiment) if config.experiment is not None else (),
        canary=canary.model if canary is not None else None,
        canary_share=canary.share if canary is not None else 0.0,
        canary_salt=_salt("canary", route, canary.model) if canary is not None else b"",
        mirror=config.mirror,
    )


def _arms(config: ExperimentConfig) -> tuple[_Arm, ...]:
    """An arm without a share is in the file to be opened later."""
    return tuple(_make(config.name, name, arm) for name, arm in config.arms.items() if arm.share > 0)


def _make(experiment: str, name: str, arm: ArmConfig) -> _Arm:
    return _Arm(name, arm.share, _salt("arm", experiment, name), arm.use, arm.strategy)


def _salt(*names: str) -> bytes:
    """What tells one drawing from another. Names have no control characters, so a NUL keeps them apart."""
    return blake2b("\0".join(names).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _share(salt: bytes, unit: bytes) -> float:
    """A number in [0, 1) that is always the same for the same unit and evenly spread over units.

    All salts have one length, so that no two pairs of salt and unit make the same bytes.
    """
    digest = blake2b(salt + unit, digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) * 2.0**-53


def _user(ask: Ask) -> bytes | None:
    """Whom the request is for; users of two callers are different people."""
    user = ask.body.get("safety_identifier") or ask.body.get("user")
    if not isinstance(user, str) or not user.strip():
        return None
    return f"{ask.key}\0{user.strip()[:_MAX_USER]}".encode("utf-8", "surrogatepass")
