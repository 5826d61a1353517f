"""What the configuration says about kept answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from policies.cache.semantic.settings import SemanticChoice


@dataclass(slots=True, frozen=True)
class CacheRules:
    """`is_exact`: equal requests get the same answer, with `is_loose` also those whose last text differs in case,
    politeness and punctuation only; else answers are kept for the time when everybody fails alone.
    `ttl_s`: seconds an answer stays fresh. `stale_s`: seconds after that in which it may stand in when everybody
    fails. `max_bytes` of all answers of a process, `max_entry_bytes` of one. `groups` maps the name of a key to the
    group that it shares answers with; every other key has its own.
    `is_shared`: gateways keep answers together in Redis, which is waited for for `shared_wait_s` at most, and takes
    answers of up to `max_shared_bytes`. `semantic`: which requests are answered by their meaning; None: none.
    """

    is_exact: bool = True
    is_loose: bool = False
    ttl_s: float = 3600.0
    stale_s: float = 0.0
    max_bytes: int = 64 * 1024 * 1024
    max_entry_bytes: int = 1024 * 1024
    groups: Mapping[str, str] = field(default_factory=dict)
    is_shared: bool = False
    shared_wait_s: float = 0.03
    max_shared_bytes: int = 256 * 1024
    semantic: SemanticChoice | None = None

    def partition(self, caller: str) -> str:
        """Who may get each other's answers; `caller` is the name of a key, empty where there are none. No kind of name
        can look like another.
        """
        group = self.groups.get(caller)
        if group is not None:
            return f"group:{group}"
        return f"key:{caller}" if caller else "anybody"
