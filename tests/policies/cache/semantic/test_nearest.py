"""The nearest entries, by words and by vectors, against the plain way to find them."""

import random
import subprocess
import sys
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cache.semantic.graph import Graph
from policies.cache.semantic.layer import Labelled, Prior, fit, logit_of
from policies.cache.semantic.lexical import Lexical
from policies.cache.semantic.vectors import Vectors

_WORDS = st.frozensets(st.sampled_from("abcdefghij"), min_size=1, max_size=6)


@settings(max_examples=30, deadline=None)
@given(st.lists(_WORDS, min_size=1, max_size=60), st.sets(st.integers(0, 59)), _WORDS, st.integers(1, 8))
def test_words_find_what_shares_most_weight(
    entries: list[frozenset[str]], dropped: set[int], asked: frozenset[str], count: int
) -> None:
    lexical = Lexical()
    for place, words in enumerate(entries):
        lexical.add(place, words)
    left = {place: words for place, words in enumerate(entries) if place not in dropped}
    for place in dropped & set(range(len(entries))):
        lexical.drop(place, entries[place])
    assert len(lexical) == len(left)
    weights = {word: min(7, max(1, round(lexical.idf(word)))) for word in asked}
    shared = {place: sum(weights[word] for word in words & asked) for place, words in left.items()}
    expected = sorted((place for place in shared if shared[place]), key=lambda place: (-shared[place], -place))
    assert lexical.nearest(asked, count) == expected[:count]


def test_vectors_are_found_by_cosine_at_any_length() -> None:
    pytest.importorskip("numpy")
    rng = random.Random(1)
    rows = {place: [rng.gauss(0, 1) for _ in range(8)] for place in range(100)}
    vectors = Vectors()
    for place, row in rows.items():
        vectors.add(place, row)
    vectors.drop(7)
    asked = [3.0 * value for value in rows[11]]
    found = vectors.nearest(asked, 5, -1.0)
    assert found[0] == (11, pytest.approx(1.0))
    assert [place for place, _ in found] == sorted(
        (place for place in rows if place != 7), key=lambda place: -vectors.cosines(asked, [place])[0]
    )[:5]
    assert 7 not in {place for place, _ in vectors.nearest(rows[7], 100, 0.1)}
    assert all(cosine >= 0.5 for _, cosine in vectors.nearest(asked, 100, 0.5))


def _skip_without(*libraries: str) -> None:
    """Without loading them here: the order matters."""
    missing = [library for library in libraries if find_spec(library) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def test_among_very_many_nearly_all_neighbours_are_found_and_nothing_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numpy = pytest.importorskip("numpy")
    _skip_without("usearch")
    for name, value in {"_BEGIN_GRAPH": 200, "_VERY_MANY": 600, "_MANY": 100_000}.items():
        monkeypatch.setattr(f"policies.cache.semantic.vectors.{name}", value)
    rng = numpy.random.default_rng(3)
    topics = rng.standard_normal((60, 128))
    rows = topics[rng.integers(0, 60, 1_500)] + 0.5 * rng.standard_normal((1_500, 128))
    asked = rows[rng.integers(0, 1_500, 100)] + 0.1 * rng.standard_normal((100, 128))
    with_graph, exact = Vectors(1_500), Vectors(600)
    used = []
    near = Graph.near
    monkeypatch.setattr(Graph, "near", lambda self, *more: used.append(1) or near(self, *more))
    for place, row in enumerate(rows[:1_200]):
        for vectors in (with_graph, exact):
            vectors.add(place, row)
        if place in (150, 590):
            assert with_graph.nearest(asked[0], 5, 0.3) == exact.nearest(asked[0], 5, 0.3)
    assert not used, "small ones are compared one by one"
    gone = set(range(0, 1_200, 3))
    for place in gone:
        for vectors in (with_graph, exact):
            vectors.drop(place)
    taken_again = sorted(gone)[:300]
    for place, row in zip(taken_again, rows[1_200:], strict=False):
        for vectors in (with_graph, exact):
            vectors.add(place, row)
    found = total = 0
    for vector in asked:
        ours, wanted = with_graph.nearest(vector, 5, 0.7), exact.nearest(vector, 5, 0.7)
        assert gone.isdisjoint(place for place, _ in ours if place not in taken_again)
        cosines = dict(exact.nearest(vector, 1_200, 0.7))
        assert all(cosine == pytest.approx(cosines[place], abs=1e-5) for place, cosine in ours)
        found += len({place for place, _ in ours} & {place for place, _ in wanted})
        total += len(wanted)
    assert len(used) == len(asked)
    assert total > 200
    assert found >= 0.98 * total


def test_a_graph_does_not_crash_who_loads_an_embedder_after_it() -> None:
    _skip_without("numpy", "usearch", "onnxruntime")
    code = (
        "import numpy\nfrom policies.cache.semantic.graph import Graph\ngraph = Graph(8)\n"
        "graph.put(3, numpy.ones(8, 'float32'))\nimport onnxruntime\nprint(graph.near(numpy.ones(8, 'float32'), 1))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[3]\n"), done.stderr


def test_single_cosines_need_no_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.cache.semantic.vectors.find_spec", lambda name: None)
    vectors = Vectors()
    vectors.add(0, [3.0, 4.0])
    vectors.add(1, [4.0, -3.0])
    assert not vectors.is_searchable
    assert vectors.cosines([6.0, 8.0], [0, 1, 2]) == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)
    vectors.drop(0)
    assert vectors.cosines([6.0, 8.0], [0]) == [0.0]


def test_the_layer_stays_at_its_prior_without_labels_and_follows_many() -> None:
    prior = Prior((0.5, 1.0), ((0.2, 0.0), (0.0, 0.2)))
    assert fit(prior, [], prior.weights) == pytest.approx(prior.weights)
    rng = random.Random(2)
    labelled = []
    for _ in range(1_200):
        row = (1.0, rng.gauss(0, 2))
        labelled.append(Labelled(row, rng.random() < 1 / (1 + 2.718281828 ** -logit_of((-1.0, 2.0), row)), 1.0))
    found = fit(prior, labelled, prior.weights)
    assert found == pytest.approx([-1.0, 2.0], abs=0.3)
    # From far away it comes to the same.
    assert fit(prior, labelled, [8.0, -8.0]) == pytest.approx(found, abs=0.1)


def test_among_many_vectors_the_nearest_are_found_by_a_part_of_them_first() -> None:
    numpy = pytest.importorskip("numpy")
    rng = numpy.random.default_rng(3)
    rows = rng.standard_normal((2_500, 128)).astype("float32")
    vectors = Vectors()
    for place, row in enumerate(rows):
        vectors.add(place, row)
    for place in (0, 1_234, 2_499):
        found = vectors.nearest(rows[place] + 0.3 * rng.standard_normal(128), 5, 0.7)
        assert [at for at, _ in found] == [place]
        assert found[0][1] == pytest.approx(vectors.cosines(rows[place], [place])[0], abs=0.1)
