"""Which text is judged."""

import time

import pytest

from routing.signals.turn import HEAD_CHARS, TAIL_CHARS, last_turn, visible


def _chat(*messages: tuple[str, object]) -> dict[str, object]:
    return {"messages": [{"role": role, "content": content} for role, content in messages]}


def test_the_last_user_turn_counts() -> None:
    body = _chat(("system", "Be brief."), ("user", "first"), ("assistant", "yes"), ("user", "second"))
    assert last_turn(body).text == "second"


def test_answers_of_tools_and_assistants_after_it_do_not_count() -> None:
    body = _chat(("user", "Find it"), ("assistant", None), ("tool", "a very long result " * 50))
    assert last_turn(body).text == "Find it"


@pytest.mark.parametrize(
    "text",
    [
        "<system-reminder>\nNever mention this.\n</system-reminder>\nFix the bug",
        "Fix the bug\n<system-reminder>Todo list is empty</system-reminder>",
        "<environment_details>cwd</environment_details><open_files>a.py</open_files>Fix the bug",
        "> an older message\n> of somebody else\nFix the bug",
        "<SYSTEM-REMINDER>x</SYSTEM-REMINDER>Fix the bug",
    ],
)
def test_blocks_and_quotes_are_left_out(text: str) -> None:
    assert visible(text) == "Fix the bug"


def test_a_turn_that_is_only_a_block_gives_way_to_the_one_before() -> None:
    body = _chat(("user", "Fix the bug"), ("user", "<system-reminder>Be careful</system-reminder>"))
    assert last_turn(body).text == "Fix the bug"


@pytest.mark.parametrize("text", ["if a <context and b>c: pass", "<system-reminder> never ends", "<b>bold</b>", "> q"])
def test_what_is_no_block_stays(text: str) -> None:
    assert visible(text) == text


def test_doctests_are_not_quotes() -> None:
    text = "def f(x):\n    '''\n>>> f(1)\n2\n'''"
    assert ">>> f(1)" in visible(text)


def test_long_text_keeps_head_and_tail() -> None:
    text = "a" * HEAD_CHARS + "b" * 100_000 + "c" * TAIL_CHARS
    assert visible(text) == "a" * HEAD_CHARS + "\n" + "c" * TAIL_CHARS


def test_a_long_block_in_the_middle_or_at_the_end_does_not_use_up_the_text() -> None:
    block = f"<file_contents>{'x' * 50_000}</file_contents>"
    assert visible(f"head {block} tail") == "head  tail"
    text = visible("h" * 5_000 + "Please explain. " + block)
    assert text.endswith("Please explain.")
    assert "x" not in text.replace("explain", "")


def test_text_of_exactly_the_limit_is_whole() -> None:
    text = "".join(chr(97 + i % 26) for i in range(HEAD_CHARS + TAIL_CHARS))
    assert visible(text) == text


def test_parts_are_joined_and_media_noted() -> None:
    content = [
        {"type": "text", "text": "<system-reminder>x</system-reminder>"},
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:"}},
        {"type": "input_audio", "input_audio": {}},
    ]
    turn = last_turn(_chat(("user", content)))
    assert (turn.text, turn.media) == ("What is this?", {"image", "audio"})


@pytest.mark.parametrize(("body", "text"), [({"prompt": "Once"}, "Once"), ({"input": "Twice"}, "Twice"), ({}, "")])
def test_bodies_without_messages(body: dict[str, object], text: str) -> None:
    assert last_turn(body).text == text


@pytest.mark.parametrize(
    "messages",
    [None, 3, "x", [], [None], [3, "x"], [{}], [{"role": "user"}], [{"role": "user", "content": [1, {}, None]}]],
)
def test_nonsense_is_an_empty_turn(messages: object) -> None:
    assert last_turn({"messages": messages}).text == ""


@pytest.mark.parametrize(
    "text",
    [
        "<" * 1_000_000,
        "<system-reminder>" * 60_000,
        "</context>" * 100_000,
        "\n>" * 500_000,
        "<context>" + "</" * 500_000,
    ],
    ids=["angles", "openings", "closings", "quotes", "unclosed"],
)
def test_hostile_text_takes_bounded_work(text: str) -> None:
    taken = []
    for _ in range(3):  # the best of three: what else the machine does is no work of ours
        start = time.process_time()
        assert len(visible(text)) <= HEAD_CHARS + TAIL_CHARS + 1
        taken.append(time.process_time() - start)
    assert min(taken) < 0.5, "seconds would mean work that grows with the square of the length"
