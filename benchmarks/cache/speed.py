"""CPU of a look-up and memory of an entry, by the number of entries."""

import gc
import random
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.cache.streams import Asked, stream
from policies.cache.semantic.namespace import Namespace
from policies.cache.semantic.rules import SemanticRules
from policies.cache.semantic.text import analyse

_LOOKS = 300
_ROUNDS = 3
_DIMENSIONS = 384


def texts(count: int, seed: int = 1) -> list[str]:
    """Prompts of about 16 tokens: those of the streams, and variations of them with other numbers and words."""
    rng = random.Random(seed)
    asked: list[Asked] = [one for name in ("gw", "clinc", "banking77") for one in stream(name)]
    base = sorted({one.text for one in asked if 8 <= len(one.text.split()) <= 16})
    words = sorted({word for text in base for word in text.split()})
    found = list(base)
    rng.shuffle(found)
    while len(found) < count:
        line = rng.choice(base).split()
        line[rng.randrange(len(line))] = rng.choice(words)
        line[rng.randrange(len(line))] = str(rng.randrange(10_000))
        found.append(" ".join(line))
    return found[:count]


def lookups(entries: int, model: Path | None, has_vectors: bool) -> dict[str, float]:
    """Milliseconds of CPU of one look-up from the text on: taken apart, embedded where there is a `model`, searched,
    judged. The median of three rounds. `bytes_per_entry` is what Python and numpy allocated for an entry, its answer
    not counted.
    """
    prompts = texts(entries + _LOOKS)
    matrix = _by_words(prompts) if has_vectors else None
    namespace = Namespace(SemanticRules(max_entries=entries), has_vectors, random.Random(1).random)
    analyse(prompts[0])
    gc.collect()
    tracemalloc.start()
    for at, prompt in enumerate(prompts[:entries]):
        namespace.add(b"%032d" % at, analyse(prompt), None if matrix is None else matrix[at])
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    gc.freeze()
    embed = _embedder(model)
    asked = list(range(entries, entries + _LOOKS))
    rounds = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        for at in asked:
            if embed is not None:
                embed(prompts[at])
            namespace.look(analyse(prompts[at]), None if matrix is None else matrix[at])
        rounds.append((time.process_time() - start) / len(asked) * 1e3)
    return {"entries": entries, "cpu_ms": round(median(rounds), 3), "bytes_per_entry": round(size / entries)}


def _by_words(prompts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors that are near where prompts share words, so that there are candidates to judge."""
    rng = np.random.default_rng(1)
    of_word = {word: rng.standard_normal(_DIMENSIONS) for word in sorted({w for p in prompts for w in p.split()})}
    return np.array([sum(of_word[word] for word in prompt.split()) for prompt in prompts], dtype=np.float32)


def _embedder(model: Path | None):  # type: ignore[no-untyped-def]
    if model is None:
        return None
    from gateway.caching.semantic.local_model import LocalModel

    return LocalModel(model).embed


def all_sizes(sizes: Sequence[int], model: Path | None) -> dict[str, list[dict[str, float]]]:
    found = {
        "words": [lookups(size, None, has_vectors=False) for size in sizes],
        "vectors": [lookups(size, None, has_vectors=True) for size in sizes],
    }
    if model is not None:
        found["vectors_and_embedding"] = [lookups(size, model, has_vectors=True) for size in sizes if size <= 10_000]
    return found
