"""A kept answer as bytes for a store that others can write to, bound to what it answers and for whom.

Layout, version 1: `SB1`, `z` where the rest is compressed and `-` where not, 16 bytes of seal, the rest: 4 bytes with
the length of a JSON head, the head, the body of the answer. The seal is a BLAKE2b (RFC 7693) over all else with a
secret as its key, so that nobody who does not know the secret can put an answer there. The head repeats the key and the
partition: what was made for one place is not taken from another.
"""

import zlib
from dataclasses import dataclass, fields
from hashlib import blake2b
from hmac import compare_digest
from typing import Any

import orjson

from policies.cache.shelf import Entry, Source
from providers.base import Usage

_MAGIC = b"SB1"
_PACKED, _PLAIN = b"z", b"-"
_SEAL_BYTES = 16
_BODY_AT = len(_MAGIC) + 1 + _SEAL_BYTES
_WORTH_PACKING = 200  # bytes
_FAST_FROM = 32 * 1024  # bytes from which on half the size counts less than a third of the time
_MOST_HEAD_BYTES = 64 * 1024
_USAGE = tuple((field.name, field.default) for field in fields(Usage))
# Members that are JSON as they are.
_AS_THEY_ARE = (
    "partition", "name", "finish_reason", "stored_s", "fresh_until_s", "summary", "cost_nusd", "caller", "asked_s",
    "asked",
)  # fmt: skip


class ForgedError(ValueError):
    """These bytes are not what was kept there: of another place, another version, damaged or made up."""


@dataclass(slots=True, frozen=True)
class Sealed:
    """What was kept, and which purges it had seen (see `PurgeLog`)."""

    entry: Entry
    era: str
    seq: int


def name_of(key: bytes, secret: bytes) -> str:
    """The name of the place for a key, of which nothing can be read or guessed."""
    return blake2b(key, key=secret, digest_size=16).hexdigest()


def seal(kept: Sealed, secret: bytes) -> bytes:
    """`secret` has 16 to 64 bytes. Compressed where that is shorter. Raises ValueError for half a character in a name
    and for numbers beyond 64 bits, which have no form.
    """
    entry = kept.entry
    usage = entry.usage
    head: dict[str, Any] = {name: getattr(entry, name) for name in _AS_THEY_ARE}
    head |= {
        "key": entry.key.hex(),
        "loose_key": None if entry.loose_key is None else entry.loose_key.hex(),
        "answered_by": entry.answered_by.decode("latin-1"),
        "tags": sorted(entry.tags),
        "source": tuple(entry.source),
        "era": kept.era,
        "seq": kept.seq,
        "usage": None
        if usage is None
        else {name: value for name, default in _USAGE if (value := getattr(usage, name)) != default},
    }
    try:
        told = orjson.dumps(head)
    except TypeError as error:
        raise ValueError("its head has no form") from error
    return closed(b"%b%b%b" % (len(told).to_bytes(4), told, entry.body), secret)


def closed(rest: bytes, secret: bytes) -> bytes:
    """Anything in the same form: sealed, and compressed where that is shorter."""
    form = _PLAIN
    if len(rest) >= _WORTH_PACKING:
        packed = zlib.compress(rest, 1 if len(rest) >= _FAST_FROM else 6)
        if len(packed) < len(rest):
            rest, form = packed, _PACKED
    return b"%b%b%b%b" % (_MAGIC, form, _seal_of(form, rest, secret), rest)


def opened(data: bytes, secret: bytes, most_bytes: int) -> bytes:
    """What `closed` was given. Raises ForgedError."""
    form, rest = data[len(_MAGIC) : len(_MAGIC) + 1], data[_BODY_AT:]
    if data[: len(_MAGIC)] != _MAGIC or not compare_digest(
        data[len(_MAGIC) + 1 : _BODY_AT], _seal_of(form, rest, secret)
    ):
        raise ForgedError("the seal is broken")
    try:
        return _unpacked(rest, most_bytes) if form == _PACKED else rest
    except zlib.error as error:
        raise ForgedError("nothing that this version wrote") from error


def unseal(data: bytes, secret: bytes, most_bytes: int) -> Sealed:
    """What `seal` was given. Raises ForgedError, also for a body of more than `most_bytes`."""
    plain = opened(data, secret, most_bytes + _MOST_HEAD_BYTES)
    try:
        upto = 4 + int.from_bytes(plain[:4])
        head, body = orjson.loads(plain[4:upto]), plain[upto:]
        usage = head["usage"]
        entry = Entry(
            key=bytes.fromhex(head["key"]),
            body=body,
            loose_key=None if head["loose_key"] is None else bytes.fromhex(head["loose_key"]),
            answered_by=head["answered_by"].encode("latin-1"),
            tags=frozenset(head["tags"]),
            source=Source(*head["source"]),
            usage=None if usage is None else Usage(**usage),
            **{name: head[name] for name in _AS_THEY_ARE},
        )
        kept = Sealed(entry, str(head["era"]), int(head["seq"]))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ForgedError("nothing that this version wrote") from error
    if len(body) > most_bytes:
        raise ForgedError("longer than what is kept")
    return kept


def _unpacked(data: bytes, most_bytes: int) -> bytes:
    packer = zlib.decompressobj()
    plain = packer.decompress(data, most_bytes)
    if not packer.eof:
        raise ForgedError("longer than what is kept")
    return plain


def _seal_of(form: bytes, rest: bytes, secret: bytes) -> bytes:
    return blake2b(form + rest, key=secret, digest_size=_SEAL_BYTES).digest()
