"""Near vectors among very many: a graph of neighbours (HNSW, Malkov and Yashunin 2016), with usearch."""

from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_CONNECTIVITY, _EXPANSION_ADD, _EXPANSION_SEARCH = 16, 128, 64


def has_graphs() -> bool:
    """Whether the library is installed; it is in the extra `semantic`."""
    return find_spec("usearch") is not None


class Graph:
    """Places by their vectors, with numbers of eight bits: for a choice among which whoever asks looks closely."""

    def __init__(self, length: int) -> None:
        # Loaded after usearch 2.26, onnxruntime 1.31 ends the process with a segmentation fault; before it does not.
        with suppress(ImportError):
            import_module("onnxruntime")
        from usearch.index import Index  # noqa: PLC0415 - in an extra, and only where there are very many

        self._index: Any = Index(
            ndim=length,
            metric="cos",
            dtype="i8",
            connectivity=_CONNECTIVITY,
            expansion_add=_EXPANSION_ADD,
            expansion_search=_EXPANSION_SEARCH,
        )

    def __contains__(self, place: int) -> bool:
        return bool(self._index.contains(place))

    def put(self, place: int, row: Any) -> None:
        """In place of what was there."""
        self.drop(place)
        self._index.add(place, row, threads=1)

    def drop(self, place: int) -> None:
        """Not found any more."""
        if place in self:
            self._index.remove(place)

    def near(self, asked: Any, count: int) -> Any:
        """At most so many places, of which nearly all are the nearest, as an array."""
        return self._index.search(asked, count, threads=1).keys.astype("int64")
