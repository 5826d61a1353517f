"""A trained router in one file: magic, checksum, a JSON header, arrays. No pickle, so reading one runs no code.

    8 bytes   SBXROUTE
    32 bytes  SHA-256 of everything after it
    4 bytes   length of the header, little-endian
    header    JSON: version, names, numbers, and for each array its type and shape
    arrays    one after the other, little-endian

The same rows give the same bytes.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.learned.hashing import BUCKETS

VERSION = 3
MAX_BYTES = 256 * 1024 * 1024
MAX_MODELS = 256
DEPTH = 6
LEAVES = 1 << DEPTH
NODES = LEAVES - 1
_MAGIC = b"SBXROUTE"
_PREFIX = len(_MAGIC) + 32 + 4
_DTYPES = frozenset({"<f4", "<f2", "<i4", "<u4", "<u2"})


class ModelFileError(Exception):
    """The file cannot be used; the text says why and what to do."""


@dataclass(slots=True)
class RouterModel:
    """What training found, for M models, F features, K counts of the wording and T trees.

    means [M] and rows [M]: mean score and number of graded rows of each model. word_rows [U] ascending and
    word_weights [U, M], wording_weights [K, M], word_bias [M]: the logistic on buckets and counts. tree_features and
    tree_cuts [63, T], tree_leaves [64, T, M]: trees of depth 6, the nodes in breadth-first order; what they ask for is
    a feature or, from F on, the logit of a model. application_means and application_rows [A, M]. seen: sorted prompt
    hashes.
    """

    models: tuple[str, ...]
    features: tuple[str, ...]
    wording: tuple[str, ...]
    applications: tuple[str, ...]
    arrays: dict[str, NDArray[Any]]
    costs: Mapping[str, float] = field(default_factory=dict)
    latencies_s: Mapping[str, float] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)


def _shapes(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    models = len(header["models"])
    words = len(arrays["word_rows"])
    trees = arrays["tree_cuts"].shape[1]
    applications = len(header["applications"])
    return {
        "means": (models,),
        "rows": (models,),
        "word_rows": (words,),
        "word_weights": (words, models),
        "wording_weights": (len(header["wording"]), models),
        "word_bias": (models,),
        "tree_features": (NODES, trees),
        "tree_cuts": (NODES, trees),
        "tree_leaves": (LEAVES, trees, models),
        "application_means": (applications, models),
        "application_rows": (applications, models),
        "seen": (len(arrays["seen"]),),
    }


def dump(model: RouterModel) -> bytes:
    """The bytes of a file."""
    header = asdict(model)
    del header["arrays"]
    arrays = {name: np.ascontiguousarray(array) for name, array in sorted(model.arrays.items())}
    header |= {
        "version": VERSION,
        "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
    }
    encoded = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    rest = struct.pack("<I", len(encoded)) + encoded + b"".join(array.tobytes() for array in arrays.values())
    return _MAGIC + sha256(rest).digest() + rest


def load(data: bytes) -> RouterModel:
    """The model of a file's bytes. Raises ModelFileError."""
    if len(data) > MAX_BYTES:
        raise ModelFileError(f"it has {len(data)} bytes, the limit is {MAX_BYTES}; train on fewer models")
    if len(data) < _PREFIX or not data.startswith(_MAGIC):
        raise ModelFileError("it is not a router file; 'signalbox train' makes them")
    if sha256(data[len(_MAGIC) + 32 :]).digest() != data[len(_MAGIC) : len(_MAGIC) + 32]:
        raise ModelFileError("its checksum is wrong, so it was cut off or changed; copy it again or train again")
    header_size = struct.unpack_from("<I", data, _PREFIX - 4)[0]
    try:
        header = json.loads(data[_PREFIX : _PREFIX + header_size])
        if header["version"] != VERSION:
            raise ModelFileError(f"it has format {header['version']}, this version reads {VERSION}; train again")
        arrays = _arrays(header["arrays"], data, _PREFIX + header_size)
        _check(header, arrays)
        return RouterModel(
            models=tuple(header["models"]),
            features=tuple(header["features"]),
            wording=tuple(header["wording"]),
            applications=tuple(header["applications"]),
            arrays=arrays,
            costs=header["costs"],
            latencies_s=header["latencies_s"],
            report=header["report"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelFileError(f"its content is not what a router file holds ({error}); train again") from None


def _arrays(entries: Any, data: bytes, offset: int) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for name, dtype, shape in entries:
        if dtype not in _DTYPES or any(not isinstance(size, int) or size < 0 for size in shape):
            raise ValueError(f"array {name}: {dtype} {shape}")
        count = prod(shape)
        arrays[name] = np.frombuffer(data, np.dtype(dtype), count, offset).reshape(shape)
        offset += arrays[name].nbytes
    if offset != len(data):
        raise ValueError("bytes that belong to no array")
    return arrays


def _check(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Everything that prediction indexes with is within bounds, and every number is one."""
    models = header["models"]
    if not 0 < len(models) <= MAX_MODELS or not all(isinstance(name, str) for name in models):
        raise ValueError("model names")
    for name, shape in _shapes(header, arrays).items():
        if arrays[name].shape != shape:
            raise ValueError(f"array {name} has shape {arrays[name].shape}, not {shape}")
    if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("a number that is none")
    if not arrays["tree_cuts"].size:
        raise ValueError("no trees")
    rows = arrays["word_rows"]
    if len(rows) and not (rows[0] >= 0 and rows[-1] < BUCKETS and (np.diff(rows) > 0).all()):
        raise ValueError("word buckets")
    nodes = arrays["tree_features"]
    if nodes.size and int(nodes.max()) >= len(header["features"]) + len(models):
        raise ValueError("a tree asks for a feature that is not there")
