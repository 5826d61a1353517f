"""Like questions get an answer once labels show that they may, and no sooner."""

import random
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cache.semantic.namespace import Look, Namespace
from policies.cache.semantic.rules import SemanticRules
from policies.cache.semantic.text import Text, analyse

_CITIES = ["Oslo", "Rome", "Cairo", "Lima", "Tokyo", "Paris", "Boston", "Austin", "Berlin", "Dublin"]
_FORMS = [
    "Show me flights from {} to {}",
    "Which flights go from {} to {}?",
    "List flights departing {} for {}",
    "I need a flight from {} to {}",
]


def _namespace(*, seed: int = 1, **rules: float) -> Namespace:
    return Namespace(SemanticRules(**rules), has_embedder=False, random=random.Random(seed).random)  # type: ignore[arg-type]


def _asked(rng: random.Random) -> tuple[str, str]:
    """A text and what its answer depends on."""
    start, end = rng.sample(_CITIES, 2)
    return rng.choice(_FORMS).format(start, end), f"{start} {end}"


def _replay(namespace: Namespace, count: int, *, wrong_labels: float = 0.0, seed: int = 3) -> list[tuple[Look, bool]]:
    """Every look-up that found something, and whether the answer of the best would have been right."""
    rng = random.Random(seed)
    classes: dict[bytes, str] = {}
    looks = []
    for at in range(count):
        said, answer = _asked(rng)
        text = analyse(said)
        look = namespace.look(text)
        is_right = look.best is not None and classes[look.best.key] == answer
        if look.best is not None:
            looks.append((look, is_right))
        if not look.is_served:
            key = b"%d %d" % (seed, at)
            classes[key] = answer
            namespace.add(key, text)
        if look.needs_label:
            namespace.learn(look, is_right is (rng.random() >= wrong_labels), look.weight)
    return looks


@pytest.fixture(scope="module")
def taught() -> tuple[Namespace, list[tuple[Look, bool]]]:
    namespace = _namespace(max_entries=300)
    return namespace, _replay(namespace, 660)


def test_it_serves_after_labels_and_is_right(taught: tuple[Namespace, list[tuple[Look, bool]]]) -> None:
    _, looks = taught
    served = [is_right for look, is_right in looks if look.is_served]
    assert not any(look.is_served for look, _ in looks[:300])
    assert len(served) > 60
    assert served.count(False) <= 0.01 * len(served)
    assert all(look.needs_label for look, _ in looks if not look.is_served)
    checked = [look for look, _ in looks if look.is_served and look.needs_label]
    assert all(look.weight == pytest.approx(1 / 0.03) for look in checked)


def test_what_was_learnt_survives_as_bytes(taught: tuple[Namespace, list[tuple[Look, bool]]]) -> None:
    namespace, _ = taught
    other = _namespace()
    other.from_bytes(namespace.to_bytes())
    assert other.to_bytes() == namespace.to_bytes()
    assert other.threshold == namespace.threshold < inf
    assert other.measured() == namespace.measured()
    assert len(other) == 0
    assert len(namespace.to_bytes()) < 500_000


def test_the_same_random_numbers_lead_to_the_same_look_ups() -> None:
    runs = [_replay(_namespace(seed=5, max_entries=300), 200) for _ in range(2)]
    assert [(look.best and look.best.key, look.is_served) for look, _ in runs[0]] == [
        (look.best and look.best.key, look.is_served) for look, _ in runs[1]
    ]


def test_with_wrong_labels_it_closes_itself() -> None:
    namespace = _namespace(max_entries=300)
    looks = _replay(namespace, 400, wrong_labels=0.1)
    assert not any(look.is_served for look, _ in looks)
    assert namespace.threshold == inf


def test_one_wrong_label_blocks_the_family_until_four_times_as_many_are_right() -> None:
    namespace = _namespace()
    for at, (start, end) in enumerate([("Oslo", "Rome"), ("Lima", "Cairo")]):
        namespace.add(b"%d" % at, analyse(_FORMS[0].format(start, end)))
    first = namespace.look(analyse(_FORMS[1].format("Oslo", "Rome")))
    assert first.best is not None
    assert first.best.key == b"0"
    assert not first.best.is_blocked
    namespace.learn(first, is_right=False)
    for is_still_blocked in (True, True, True, True, False):
        again = namespace.look(analyse(_FORMS[1].format("Lima", "Cairo")))  # other cities, the same two wordings
        assert again.best is not None
        assert again.best.is_blocked is is_still_blocked
        assert again.needs_label
        namespace.learn(again, is_right=True)


def test_whose_answers_are_alike_is_learnt_before_and_after_an_entry_is_kept() -> None:
    for is_kept_first in (True, False):
        namespace = _namespace()
        namespace.add(b"0", analyse(_FORMS[0].format("Oslo", "Rome")))
        text = analyse(_FORMS[1].format("Oslo", "Rome"))
        look = namespace.look(text)
        if is_kept_first:
            namespace.add(b"1", text)
        namespace.learn(look, is_right=True)
        if not is_kept_first:
            namespace.add(b"1", text)
        found = namespace.look(analyse(_FORMS[3].format("Oslo", "Rome")))
        assert {candidate.key for candidate in found.candidates} == {b"0", b"1"}
        agreeing = [candidate.row[10] for candidate in found.candidates]
        assert agreeing == [1.0, 1.0]


def test_a_wrong_hit_is_taught_by_its_pair() -> None:
    namespace = _namespace()
    namespace.add(b"0", analyse(_FORMS[0].format("Oslo", "Rome")))
    asked = analyse(_FORMS[1].format("Oslo", "Rome"))
    pair = namespace.pair(asked, b"0")
    assert pair is not None
    namespace.learn(pair, is_right=False)
    again = namespace.look(asked)
    assert again.best is not None
    assert again.best.is_blocked
    namespace.drop(b"0")
    assert namespace.pair(asked, b"0") is None
    assert namespace.look(asked).candidates == ()


_TEXTS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=40)


@settings(max_examples=30, deadline=None)
@given(_TEXTS)
def test_entries_stay_within_their_number_and_are_found_until_dropped(steps: list[tuple[str, bool]]) -> None:
    namespace = _namespace(max_entries=3)
    texts: dict[str, Text] = {sign: analyse(f"Where is the town of {sign * 3}ville?") for sign in "abcdefgh"}
    for sign, is_added in steps:
        if is_added:
            namespace.add(sign.encode(), texts[sign])
            assert sign.encode() in {one.key for one in namespace.look(texts[sign]).candidates}
        else:
            namespace.drop(sign.encode())
            assert sign.encode() not in {one.key for one in namespace.look(texts[sign]).candidates}
        assert len(namespace) <= 3


def test_the_most_useful_entry_stays() -> None:
    namespace = _namespace(max_entries=8)
    text = analyse(_FORMS[0].format("Oslo", "Rome"))
    namespace.add(b"useful", text)
    for at in range(60):
        pair = namespace.pair(text, b"useful")
        assert pair is not None
        namespace.learn(pair, is_right=True)
        namespace.add(b"%d" % at, analyse(f"What is the weather in town number {at}?"))
    assert len(namespace) == 8
    assert namespace.pair(text, b"useful") is not None
