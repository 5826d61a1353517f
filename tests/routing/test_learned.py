"""The trained router end to end on rows made up here: it learns what can be learned, and its file holds."""

import json
from dataclasses import replace
from importlib.util import find_spec
from random import Random

import pytest

np = pytest.importorskip("numpy")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from routing.classifier import classify  # noqa: E402
from routing.features import extract_text  # noqa: E402
from routing.learned.evaluate import calibration_error, cost_at, mean_pair_figures, pair_figures, pairs  # noqa: E402
from routing.learned.feedback import Examples, FeedbackError, assemble, parse  # noqa: E402
from routing.learned.model_file import ModelFileError, RouterModel, dump, load  # noqa: E402
from routing.learned.predict import Predictor, Trees, quality  # noqa: E402

# Training needs scikit-learn, which takes seconds to import: only where it runs, and in one worker.
pytestmark = [
    pytest.mark.skipif(find_spec("sklearn") is None, reason="scikit-learn is not installed"),
    pytest.mark.xdist_group("training"),
]

_EASY = ("name a fruit", "say hello to Bob", "spell the word house", "pick a colour")
_HARD = ("prove the lemma on primes", "derive the integral of this", "refactor the parser", "design a compiler")


def made_up(count: int, seed: int = 1) -> Examples:
    """The small model fails on the hard half, the big one seldom anywhere."""
    rng = Random(seed)
    rows = []
    for number in range(count):
        is_hard = rng.random() < 0.5
        prompt = f"{rng.choice(_HARD if is_hard else _EASY)} number {number} {rng.choice(('now', 'please', 'today'))}"
        small = float(rng.random() < (0.15 if is_hard else 0.9))
        big = float(rng.random() < 0.95)
        application = "proofs" if is_hard and rng.random() < 0.9 else "chat"
        rows.append(
            {
                "prompt": prompt,
                "scores": {"small": small, "big": big},
                "costs": {"small": 1.0, "big": 10.0},
                "application": application,
            }
        )
    return assemble(rows)


@pytest.fixture(scope="module")
def examples() -> Examples:
    return made_up(400)


@pytest.fixture(scope="module")
def model(examples: Examples) -> RouterModel:
    from routing.learned.train import fit

    return fit(examples)


def test_it_learns_which_requests_need_the_big_model(model: RouterModel) -> None:
    from routing.learned.report import predict_all

    other = made_up(300, seed=2)
    found = predict_all(model, other)
    assert mean_pair_figures(found, other.scores).apgr > 0.65
    assert cost_at(0.95, found, other.scores, other.costs) < 0.7
    assert calibration_error(found, other.scores) < 0.12


def test_the_same_rows_give_the_same_bytes(examples: Examples, model: RouterModel) -> None:
    from routing.learned.train import fit

    assert dump(fit(examples)) == dump(model)


def test_a_file_predicts_like_what_was_written(model: RouterModel) -> None:
    again = Predictor(load(dump(model)))
    for text in ("", "prove it", "hello " * 1_000, "中文" * 300):
        features = extract_text(text)
        before = Predictor(model).predict(features)
        assert again.predict(features) == pytest.approx(before, abs=1e-6)
        assert all(0.0 <= value <= 1.0 for value in quality(again, features, "proofs").values())


def test_the_application_counts_and_an_unknown_one_does_not(model: RouterModel) -> None:
    predictor, features = Predictor(model), extract_text("please do the usual")
    small = predictor.models.index("small")
    assert predictor.predict(features, "proofs")[small] < predictor.predict(features, "chat")[small]
    assert (predictor.predict(features, "never seen") == predictor.predict(features)).all()


def test_trees_are_those_of_scikit_learn(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six choices by numpy alone lead to the leaf that the library itself finds, at every row."""
    from routing.learned import train as training

    forests = []

    class Kept(training.ExtraTreesRegressor):
        def fit(self, *arguments: object) -> "Kept":
            forests.append(self)
            return super().fit(*arguments)

    monkeypatch.setattr(training, "ExtraTreesRegressor", Kept)
    monkeypatch.setattr(training, "_LEAF_MEAN_ROWS", 1e-9)
    values = np.array([features.values for features in examples.features], np.float32)
    trees = Trees(training.grow(values, examples.scores))
    found = np.array([trees(row) for row in values])
    assert found == pytest.approx(forests[0].predict(values), abs=1e-5)


def test_a_leaf_holds_the_mean_of_its_graded_rows() -> None:
    from routing.learned.train import grow

    values = np.repeat([[0.0], [1.0]], 60, 0).astype(np.float32)
    scores = np.column_stack((values[:, 0], np.where(np.arange(120) % 3, np.nan, 0.25 + 0.5 * values[:, 0])))
    trees = Trees(grow(values, scores))
    low, high = trees(np.array([0.0], np.float32)), trees(np.array([1.0], np.float32))
    assert low == pytest.approx([0.0, 0.25], abs=0.02)
    assert high == pytest.approx([1.0, 0.75], abs=0.02)


def test_with_few_rows_it_orders_nearly_as_the_classifier() -> None:
    from routing.learned.train import fit

    rng = Random(3)
    rows = [
        {"prompt": f"{rng.choice(_EASY + _HARD)} {n}", "scores": {"a": float(n % 2), "b": float(n % 5 > 0)}}
        for n in range(20)
    ]
    predictor = Predictor(fit(assemble(rows)))
    texts = [
        "hi",
        "What is it?",
        "prove this, because it must hold",
        "design a distributed system. Compare, prove, derive.",
    ]
    gains = [found["b"] - found["a"] for found in (quality(predictor, extract_text(text)) for text in texts)]
    scores = [classify(extract_text(text)).score for text in texts]
    assert [gains.index(g) for g in sorted(gains)] == [scores.index(s) for s in sorted(scores)]


def test_models_that_were_not_always_graded() -> None:
    from routing.learned.train import fit

    rows = [
        {"prompt": f"{_HARD[n % 4]} {n}", "scores": {"a": 0.5} if n % 3 else {"a": 1.0, "b": 0.25}} for n in range(90)
    ]
    found = Predictor(fit(assemble(rows)))
    assert found.models == ("a", "b")
    assert np.isfinite(found.predict(extract_text("x"))).all()


def test_the_report_compares_with_what_needs_no_training(examples: Examples) -> None:
    from routing.learned.report import cross_validate

    report = cross_validate(examples.subset(np.arange(200)))
    assert set(report.figures) == {"learned", "random", "length", "classifier"}
    assert report.figures["random"].apgr == pytest.approx(0.5)
    assert report.figures["learned"].apgr > 0.6
    assert set(report.curve) == {50, 100}
    assert report.to_json()["rows"] == 200


def test_figures_of_a_perfect_a_random_and_a_reversed_order() -> None:
    strong, weak = np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])
    assert pair_figures([1, 0, 1, 0], strong, weak).apgr == pytest.approx(0.75)
    assert pair_figures([0, 0, 0, 0], strong, weak).apgr == pytest.approx(0.5)
    assert pair_figures([0, 1, 0, 1], strong, weak).apgr == pytest.approx(0.25)
    assert pair_figures([1, 0, 1, 0], strong, weak).cpt50 == pytest.approx(0.25)
    assert np.isnan(pair_figures([1, 0], [0.0, 0.0], [1.0, 1.0]).apgr)
    assert pairs(np.array([[0.5, 0.5]])) == []


_GOOD = {"prompt": "x", "scores": {"a": 1.0}}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "line 1: it is not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"scores": {"a": 1}}', "needs 'prompt'"),
        (b'{"prompt": "x"}', "needs 'scores'"),
        (b'{"prompt": "x", "scores": {}}', "needs 'scores'"),
        (b'{"prompt": "x", "scores": {"a": 2}}', "not from 0 to 1"),
        (b'{"prompt": "x", "scores": {"a": true}}', "is not a number"),
        (b'{"prompt": "x", "scores": {"a": 1}, "costs": {"a": -1}}', "not from 0 up"),
        (b'{"prompt": "x", "scores": {"a": 1}, "costs": 3}', "is not an object"),
        (b'{"prompt": "x", "scores": {"a": 1}, "application": 3}', "not text"),
        (b"", "no rows"),
    ],
)
def test_bad_lines_are_named(line: bytes, says: str) -> None:
    with pytest.raises(FeedbackError, match=says):
        parse([line])


def test_the_last_word_about_a_request_counts() -> None:
    lines = [
        b'{"prompt": "a b", "scores": {"x": 0.0}, "request_id": "req_1"}',
        b'{"prompt": "c d", "scores": {"x": 0.5}}',
        b'{"prompt": "a b", "scores": {"x": 1.0}, "request_id": "req_1"}',
        b'{"prompt": "c d", "scores": {"x": 0.5}}',
    ]
    assert parse(lines).scores.tolist() == [[1.0], [0.5], [0.5]]


def test_a_weak_label_is_a_hint() -> None:
    lines = [
        b'{"prompt": "a", "scores": {"x": 0.8, "y": 1.0}}',
        b'{"prompt": "b", "scores": {"x": 0.6}}',
        b'{"prompt": "c", "scores": {"x": 0.0, "y": 0.0}, "weak": ["x", "y"]}',
    ]
    scores = parse(lines).scores
    assert scores[2].tolist() == pytest.approx([0.49, 0.7])
    assert scores[0].tolist() == [0.8, 1.0]


def test_every_cut_and_every_changed_byte_is_noticed(model: RouterModel) -> None:
    data = dump(model)
    rng = Random(5)
    for _ in range(40):
        place = rng.randrange(len(data))
        changed = bytearray(data)
        changed[place] ^= 1 << rng.randrange(8)
        for broken in (bytes(changed), data[:place], data + b"x"):
            with pytest.raises(ModelFileError):
                load(broken)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_fail_in_another_way(data: bytes) -> None:
    for candidate in (data, b"SBXROUTE" + data):
        with pytest.raises(ModelFileError):
            load(candidate)


@pytest.mark.parametrize(
    "change",
    [
        {"tree_features": lambda a: a + 5_000},
        {"wording_weights": lambda a: a[:-1]},
        {"word_rows": lambda a: a[::-1]},
        {"word_rows": lambda a: a + (1 << 20)},
        {"means": lambda a: a * np.float32("nan")},
        {"tree_cuts": lambda a: a[:-1]},
        {"tree_leaves": lambda a: a[..., :1]},
        {"tree_leaves": lambda a: a.astype("<f8")},
    ],
)
def test_arrays_that_would_be_read_out_of_bounds_are_refused(model: RouterModel, change: dict[str, object]) -> None:
    arrays = model.arrays | {name: edit(model.arrays[name]) for name, edit in change.items()}
    with pytest.raises(ModelFileError, match="train again"):
        load(dump(replace(model, arrays=arrays)))


def test_features_this_version_does_not_have(model: RouterModel) -> None:
    with pytest.raises(ModelFileError, match=r"astrology.*train again"):
        Predictor(replace(model, features=("astrology", *model.features[1:])))
    with pytest.raises(ModelFileError, match=r"rhymes.*train again"):
        Predictor(replace(model, wording=("rhymes", *model.wording[1:])))


def test_a_file_may_know_fewer_counts_or_in_another_order(model: RouterModel) -> None:
    """That of an older version with the same format: numbers go by their names."""
    names, weights = model.wording[:3:-1], model.arrays["wording_weights"][:3:-1]
    arrays = model.arrays | {"wording_weights": weights}
    turned = Predictor(load(dump(replace(model, wording=names, arrays=arrays))))
    known = model.arrays["wording_weights"].copy()
    known[:4] = 0.0
    model = replace(model, arrays=model.arrays | {"wording_weights": known})
    for text in ("prove it", "How many are 3 of $4.00?"):
        features_of = extract_text(text)
        assert turned.predict(features_of) == pytest.approx(Predictor(model).predict(features_of), abs=1e-5)


def test_answers_of_one_model_each_tell_what_both_would() -> None:
    rng = np.random.default_rng(5)
    order = rng.random(20_000)
    strong = (rng.random(20_000) < 0.9).astype(float)
    weak = (rng.random(20_000) < 0.9 - 0.6 * order).astype(float)
    both = pair_figures(order, strong, weak)
    is_strong = rng.random(20_000) < 0.3
    one_each = pair_figures(order, np.where(is_strong, strong, np.nan), np.where(is_strong, np.nan, weak))
    assert both.apgr > 0.6
    assert one_each.apgr == pytest.approx(both.apgr, abs=0.03)
    assert one_each.cpt50 == pytest.approx(both.cpt50, abs=0.04)
    backwards = pair_figures(-order, np.where(is_strong, strong, np.nan), np.where(is_strong, np.nan, weak))
    assert backwards.apgr < 0.45


def test_a_router_is_trained_on_traffic_that_has_one_answer_each() -> None:
    from routing.learned.report import cross_validate

    rng = np.random.default_rng(3)
    lines = []
    for number in range(400):
        is_hard = bool(rng.random() < 0.5)
        text = "prove the lemma, because it must hold" if is_hard else "say hello"
        model = "big" if rng.random() < 0.5 else "small"
        score = float(model == "big" or not is_hard)
        lines.append(json.dumps({"prompt": f"{text} {number}", "scores": {model: score}}).encode())
    report = cross_validate(parse(lines))
    assert report.figures["learned"].apgr > 0.65
    assert report.figures["random"].apgr == pytest.approx(0.5, abs=0.01)
