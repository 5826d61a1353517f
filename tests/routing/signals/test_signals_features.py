"""Features of whole requests: what is measured, and that nothing a caller sends fails."""

from math import isfinite
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing import features
from routing.features import COUNTS, NAMES, extract, extract_text, reader
from routing.signals import view
from routing.signals.modality import Modality
from routing.signals.task_type import TaskType
from routing.signals.tool_stage import ToolStage
from routing.signals.view import MAX_WORDS, Index


def value(text: str, name: str) -> float:
    return extract_text(text).values[NAMES.index(name)]


def test_every_signal_file_is_found() -> None:
    folder = Path(features.__file__).parent / "signals"
    declared = [
        name for path in sorted(folder.glob("*.py")) if "\nNAMES = " in path.read_text("utf-8") for name in [path.stem]
    ]
    assert [module.__name__.rpartition(".")[2] for module in features._MODULES] == declared
    assert len(set(NAMES)) == len(NAMES) == len(extract_text("x").values)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("hi there!", TaskType.SMALL_TALK),
        ("Write a Python function that reverses a list", TaskType.CODE),
        ("Solve the quadratic equation x^2 - 5x + 6 = 0", TaskType.MATHS),
        ("Who won the world cup in that year?", TaskType.FACTUAL),
        ("Summarize and translate this paragraph", TaskType.EXTRACTION),
        ("Compose a poem, a story or an essay", TaskType.WRITING),
        ("Analyze and compare both arguments and explain why", TaskType.ANALYSIS),
        ("", TaskType.FACTUAL),
    ],
)
def test_task_types(text: str, kind: TaskType) -> None:
    assert extract_text(text).task_type is kind


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is this?", "en"),
        ("Wie geht es dir und was ist das?", "de"),
        ("Qu'est-ce que c'est que la vie ?", "fr"),
        ("¿Cómo está el perro de la casa?", "es"),
        ("今日は元気ですか", "ja"),
        ("写一个函数", "zh"),
        ("안녕하세요 오늘", "ko"),
        ("Привет, как дела?", "ru"),
        ("42", "en"),
        ("naïve café", "en"),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert extract_text(text).language == language


@pytest.mark.parametrize(
    ("name", "more", "less"),
    [
        ("code_words", "def f(self): return None", "the cat sat"),
        ("code_symbols", "x = {a: [b(c)]};", "the cat sat"),
        ("code_fences", "```\nx\n```", "x"),
        ("numbers", "1 and 2 and 3", "one and two"),
        ("latex", r"$\frac{1}{2}$", "half"),
        ("demanding_words", "prove this rigorously", "tell this"),
        ("obligations", "you must include at least", "you"),
        ("choices", "Which?\nA. x\nB. y", "Which? x or y"),
        ("bullets", "do:\n- a\n- b", "do a b"),
        ("connective_words", "because, although, therefore", "and"),
        ("log_sentences", "One. Two. Three.", "One two three."),
    ],
)
def test_signals_answer_to_what_they_measure(name: str, more: str, less: str) -> None:
    assert value(more, name) > value(less, name)


def test_tool_stages() -> None:
    tools = [{"type": "function"}]
    user = {"role": "user", "content": "Find it"}
    call = {"role": "assistant", "tool_calls": [{"id": "1"}]}
    result = {"role": "tool", "content": "found"}
    assert extract({"messages": [user]}).tool_stage is ToolStage.NONE
    assert extract({"messages": [user], "tools": tools}).tool_stage is ToolStage.OFFERED
    assert extract({"messages": [user, call], "tools": tools}).tool_stage is ToolStage.CALLED
    done = extract({"messages": [user, call, result], "tools": tools})
    assert (done.tool_stage, done.task_type, done.messages) == (ToolStage.RESULT, TaskType.AGENTIC, 3)


def test_modality() -> None:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url"}, {"type": "file"}]
    assert extract({"messages": [{"role": "user", "content": parts}]}).modality is Modality.IMAGE
    assert extract_text("What is it?").modality is Modality.TEXT


def test_case_and_blanks_change_nothing() -> None:
    text = "Explain why the function returns 3. Then prove, step by step, that it must end."
    plain = extract_text(text)
    for noisy in (text.upper(), text.replace(" ", "  "), f"\n {text}\t", text.replace("y ", "y\t")):
        other = extract_text(noisy)
        assert other.words == plain.words
        assert other.task_type == plain.task_type


def test_every_count_stands_for_a_word_class() -> None:
    classes = {name for module in features._MODULES for name in getattr(module, "LEXICON", {})}
    assert set(COUNTS) <= set(NAMES)
    assert set(COUNTS.values()) <= classes
    assert len(classes) == sum(len(getattr(module, "LEXICON", {})) for module in features._MODULES), "a name twice"


@given(st.dictionaries(st.sampled_from(["a", "b", "ab", "x"]), st.integers(0, 300)))
def test_the_index_counts_as_one_would_by_hand(times: dict[str, int]) -> None:
    words = [word for word, count in times.items() for _ in range(count)]
    lexicons = {"with_a": frozenset({"a", "ab"}), "none": frozenset({"q"}), "with_b": frozenset({"b", "ab"})}
    found = {name: sum(word in known for word in words) for name, known in lexicons.items()}
    assert Index(lexicons).count(words) == {name: count for name, count in found.items() if count}


@given(st.text(alphabet=st.characters(max_codepoint=127)) | st.text(alphabet="ab .,(\n\t\x1c'9", max_size=40))
def test_both_ways_find_the_same_words(text: str) -> None:
    words, may_have_numbers = view._ascii_words(text.lower())
    assert words == view._ASCII_WORD.findall(text.lower())
    assert may_have_numbers or not any(map(str.isdecimal, words))


@given(st.lists(st.sampled_from(NAMES), unique=True, max_size=6), st.text(alphabet="ab.?3 \n$because", max_size=60))
def test_some_features_alone_are_what_they_are_among_all(names: list[str], text: str) -> None:
    found = extract_text(text)
    assert reader(names)(found.view) == tuple(found.values[NAMES.index(name)] for name in names)


def test_tokens_count_the_whole_turn_and_words_are_bounded() -> None:
    found = extract_text("alpha beta gamma " * 10_000)
    assert 30_000 <= found.tokens <= 60_000
    assert len(found.words) == MAX_WORDS


_KEYS = ["messages", "role", "content", "type", "text", "tools", "prompt", "input", "user", "tool_calls"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=5))
def test_no_body_fails(body: dict[str, object]) -> None:
    assert all(map(isfinite, extract(body).values))


@given(st.text(max_size=400))
def test_no_text_fails(text: str) -> None:
    assert all(map(isfinite, extract_text(text).values))
