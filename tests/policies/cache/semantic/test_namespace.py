"""Like questions get an answer once labels show that they may, and no sooner."""

import random
from dataclasses import replace
from math import inf
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cache.semantic.lessons import Lesson, Record, State, from_bytes, to_bytes
from policies.cache.semantic.namespace import Look, Namespace, lesson_of
from policies.cache.semantic.rows import NAMES
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


def _replay(
    namespace: Namespace,
    count: int,
    *,
    wrong_labels: float = 0.0,
    seed: int = 3,
    records: list[Record] | None = None,
) -> list[tuple[Look, bool]]:
    """Every look-up that found something, and whether the answer of the best would have been right. `records` gets the
    lessons, and what is made of them.
    """
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
            told = is_right is (rng.random() >= wrong_labels)
            fits = namespace.fits
            namespace.learn(look, told, look.weight)
            lesson = lesson_of(look, is_right=told, weight=look.weight)
            if records is not None and lesson is not None:
                records.append(lesson)
                records += [namespace.state()] * (namespace.fits - fits)
    return looks


class Taught(NamedTuple):
    """A namespace that serves, all look-ups that found something, and what it was taught."""

    namespace: Namespace
    looks: list[tuple[Look, bool]]
    records: list[Record]


@pytest.fixture(scope="module")
def taught() -> Taught:
    namespace, records = _namespace(max_entries=300), list[Record]()
    return Taught(namespace, _replay(namespace, 660, records=records), records)


def test_it_serves_after_labels_and_is_right(taught: Taught) -> None:
    looks = taught.looks
    served = [is_right for look, is_right in looks if look.is_served]
    assert not any(look.is_served for look, _ in looks[:300])
    assert len(served) > 60
    assert served.count(False) <= 0.01 * len(served)
    assert all(look.needs_label for look, _ in looks if not look.is_served)
    checked = [look for look, _ in looks if look.is_served and look.needs_label]
    assert all(look.weight == pytest.approx(1 / 0.03) for look in checked)


def test_what_was_learnt_is_restored_from_the_lessons_and_what_was_made_of_them(taught: Taught) -> None:
    assert sum(isinstance(one, State) for one in taught.records) >= 2
    other = _namespace()
    other.restore(from_bytes(to_bytes(one)) for one in taught.records)
    assert len(other) == 0
    assert other.measured() == replace(taught.namespace.measured(), hits=other.hits)
    assert other.threshold == taught.namespace.threshold < inf
    assert other.state() == replace(taught.namespace.state(), counts=other.state().counts)
    looks = _replay(other, 100, seed=4)
    assert sum(look.is_served for look, _ in looks) > 10, "it serves from the beginning"
    other.restore([])
    assert other.threshold == inf


def test_a_namespace_learns_the_same_from_the_lessons_of_another(taught: Taught) -> None:
    other = _namespace()
    for record in taught.records:
        if isinstance(record, Lesson):
            other.take(record)
    assert other.threshold == pytest.approx(taught.namespace.threshold)
    assert other.threshold < inf


def test_whose_answers_are_alike_is_learnt_from_the_lesson_of_another_process() -> None:
    namespace = _namespace()
    for at, form in enumerate(_FORMS[:2]):
        namespace.add(b"%d" % at, analyse(form.format("Oslo", "Rome")))
    look = namespace.look(analyse(_FORMS[1].format("Oslo", "Rome")))
    lesson = lesson_of(look, is_right=True)
    assert lesson is not None
    namespace.take(replace(lesson, kept=b"0", asked=b"1"))
    found = namespace.look(analyse(_FORMS[3].format("Oslo", "Rome")))
    assert [candidate.row[10] for candidate in found.candidates] == [1.0, 1.0]


_LESSONS = st.builds(
    Lesson,
    st.binary(max_size=40),
    st.binary(max_size=40),
    st.binary(min_size=9, max_size=9).map(bytes.hex),
    st.integers(-99, 99).map(lambda at: tuple(at / 2 + place for place in range(len(NAMES)))),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.floats(1.0, 100.0, width=32),
)


@settings(max_examples=25)
@given(_LESSONS, st.binary(max_size=60))
def test_a_lesson_comes_back_as_it_was_and_anything_else_is_refused(lesson: Lesson, other: bytes) -> None:
    data = to_bytes(lesson)
    assert from_bytes(data) == lesson
    for bad in (b"", b"X" + other, b"L" + other, b"S" + other, data[:30]):
        with pytest.raises(ValueError, match=r"."):
            from_bytes(bad)


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
    namespace.restore([namespace.state()])  # also after a restart that has no older lessons any more
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


def test_a_wrong_hit_is_not_given_again() -> None:
    namespace = _namespace()
    namespace.add(b"0", analyse(_FORMS[0].format("Oslo", "Rome")))
    asked = analyse(_FORMS[1].format("Oslo", "Rome"))
    namespace.learn(namespace.look(asked), is_right=False)
    again = namespace.look(asked)
    assert again.best is not None
    assert again.best.is_blocked
    namespace.drop(b"0")
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
        look = namespace.look(text)
        assert look.best is not None
        assert look.best.key == b"useful"
        namespace.learn(look, is_right=True)
        namespace.add(b"%d" % at, analyse(f"What is the weather in town number {at}?"))
    assert len(namespace) == 8


@pytest.mark.parametrize("has_numpy", [True, False])
def test_vectors_of_other_lengths_are_not_compared(has_numpy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_numpy:
        monkeypatch.setattr("policies.cache.semantic.vectors.find_spec", lambda name: None)
    namespace = Namespace(SemanticRules(), has_embedder=True, random=lambda: 0.5)
    first, second, third = (analyse(form.format("Oslo", "Rome")) for form in _FORMS[:3])
    namespace.add(b"0", first, [3.0, 4.0])
    namespace.add(b"1", second, [3.0, 4.0, 5.0])
    assert len(namespace) == 1
    assert [one.key for one in namespace.look(third, [3.0, 4.0]).candidates] == [b"0"]
    assert namespace.look(third, [3.0, 4.0, 5.0]).candidates == ()
