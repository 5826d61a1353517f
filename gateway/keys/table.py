"""From what is known of keys to what a request looks up: one dictionary by digest, made anew whenever a key changes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from config.schema_keys import KeyConfig
from config.schema_money import TeamConfig
from gateway.keys.record import KeyRecord
from gateway.keys.ring import KeyRing
from gateway.runtime import Caller


@dataclass(slots=True, frozen=True)
class Refused:
    """A key that is known and may not call; `detail` is for its holder."""

    name: str
    why: Literal["disabled", "unusable"]
    detail: str = ""


class Keys(dict[str, Caller]):
    """Callers by the SHA-256 hex digest of their secrets.

    `is_open`: there are no keys at all, and nobody needs one. `is_sure`: every key is known; False while the store of
    keys cannot be read, where a digest that is not here may still be one. `refused` are keys that may not call.
    """

    __slots__ = ("is_open", "is_sure", "refused")

    def __init__(self) -> None:
        super().__init__()
        self.is_open = True
        self.is_sure = True
        self.refused: dict[str, Refused] = {}


@dataclass(slots=True, frozen=True)
class Known:
    """Everything that decides who may call, beside the configuration: keys made at run time, whether those are all
    there are, and whether a gateway without keys answers everybody.
    """

    records: Mapping[str, KeyRecord] = field(default_factory=dict)
    is_sure: bool = True
    may_be_open: bool = True


@dataclass(slots=True, frozen=True)
class Part:
    """What one key adds to the dictionary, by digest."""

    callers: Mapping[str, Caller] = field(default_factory=dict)
    refused: Mapping[str, Refused] = field(default_factory=dict)


class Parts:
    """The parts of records under one configuration, each worked out once: with thousands of keys, a change of one of
    them must not hold up requests for all.
    """

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self._parts: dict[str, tuple[KeyRecord, Part]] = {}

    def of(self, records: Iterable[KeyRecord]) -> Iterator[Part]:
        """Their parts; what is known of other records is forgotten."""
        before, self._parts = self._parts, {}
        for record in records:
            known = before.get(record.name)
            if known is None or known[0] is not record:
                previous = [(one.sha256, one.until_s) for one in record.previous]
                known = record, part_of(self.ring, record.settings, previous)
            self._parts[record.name] = known
            yield known[1]


def build_keys(ring: KeyRing, known: Known | None = None, parts: Parts | None = None) -> Keys:
    """The dictionary. A key of the file goes before one that was made with the same name."""
    known = known if known is not None else Known()
    parts = parts if parts is not None else Parts(ring)
    keys = Keys()
    of_file = {settings.name for settings in ring.keys}
    made = parts.of(record for record in known.records.values() if record.name not in of_file)
    for part in (*made, *(part_of(ring, settings, ()) for settings in ring.keys)):
        keys.update(part.callers)
        keys.refused.update(part.refused)
    keys.is_sure = known.is_sure
    keys.is_open = known.may_be_open and known.is_sure and not keys and not keys.refused
    return keys


def problem_of(settings: KeyConfig, ring: KeyRing) -> tuple[str, str] | None:
    """What a key refers to that is not configured, as (setting, sentence); None where all is there."""
    for name, known in (("team", ring.teams), ("budget", ring.budgets), ("limits", ring.limits)):
        asked = getattr(settings, name)
        if asked is not None and asked not in known:
            what = name if name != "limits" else "entry of 'limits'"
            return name, f"The configuration has no {what} '{asked}'."
    return None


def part_of(ring: KeyRing, settings: KeyConfig, previous: Iterable[tuple[str, float]]) -> Part:
    """What a key adds; `previous` are digests of secrets from before a rotation, with their ends (Unix seconds)."""
    # What a key was limited by may be gone from the file: without it the key would have no limit at all.
    problem = problem_of(settings, ring)
    if settings.disabled or problem is not None:
        why = Refused(settings.name, "disabled") if problem is None else Refused(settings.name, "unusable", problem[1])
        return Part(refused=dict.fromkeys([settings.sha256, *(digest for digest, _ in previous)], why))
    caller = caller_of(settings, ring)
    callers = {settings.sha256: caller}
    for digest, until_s in previous:
        ends_s = until_s if caller.expires_s is None else min(until_s, caller.expires_s)
        callers[digest] = replace(caller, expires_s=ends_s)
    return Part(callers)


def caller_of(settings: KeyConfig, ring: KeyRing) -> Caller:
    """Who calls with this key: its own settings with those of its team and the teams above. Raises KeyError for a team
    that is not configured.
    """
    holders: list[KeyConfig | TeamConfig] = [settings, *ring.team_chain(settings.team)]
    lists = [frozenset(one.models) for one in holders if one.models is not None]
    tags = frozenset(tag for one in holders for tag in one.tags or ())
    return Caller(
        settings.name,
        frozenset.intersection(*lists) if lists else None,
        frozenset(settings.candidates) if settings.candidates is not None else None,
        settings.priority,
        team=settings.team,
        tags=tags,
        scopes=ring.scopes.of_key(settings),
        default_model=settings.default_model,
        expires_s=settings.expires.timestamp() if settings.expires is not None else None,
    )
