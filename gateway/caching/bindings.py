"""Secrets of what is kept outside of this process, made of who may answer and whom it is for."""

import json
from hashlib import sha256

from gateway.runtime import Runtime

_MOST_SECRETS = 10_000


class Bindings:
    """The secrets that answers in Redis are bound to, for one Runtime: who may answer for a name, at which address and
    with which credentials, and the secrets of the keys that it is for. Gateways that agree on these share answers. A
    key that was made anew under an old name shares none with it, and nobody else can make a value that is accepted.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._groups = runtime.cache.groups if runtime.cache is not None else {}
        self._known: dict[tuple[str, str], bytes] = {}
        self._digests: dict[str, list[str]] | None = None

    def of(self, name: str, partition: str) -> bytes:
        """32 bytes for answers of the model or route `name`."""
        known = self._known.get((name, partition))
        if known is None:
            if len(self._known) >= _MOST_SECRETS:
                self._known.clear()
            facts = [name, partition, self._behind(name), self._whose(partition)]
            known = self._known[name, partition] = sha256(json.dumps(facts).encode()).digest()
        return known

    def _behind(self, name: str) -> list[list[str]]:
        upstreams, plan = self._runtime.upstreams, self._runtime.router.plans.get(name)
        if plan is not None:
            pairs = [(one.id, one.provider) for one in plan.deployments()]
        else:  # a name with a provider before the slash
            pairs = [(provider, provider) for provider in sorted(upstreams)]
        return [[one, upstreams[provider].fingerprint if provider in upstreams else ""] for one, provider in pairs]

    def _whose(self, partition: str) -> list[str]:
        """Digests of the secrets of a key, or of all keys of a group."""
        kind, _, name = partition.partition(":")
        names = [name] if kind == "key" else [key for key, group in self._groups.items() if group == name]
        if self._digests is None:
            self._digests = {}
            for digest, caller in self._runtime.keys.items():
                self._digests.setdefault(caller.name, []).append(digest)
        return sorted(digest for key in names for digest in self._digests.get(key, ()))
