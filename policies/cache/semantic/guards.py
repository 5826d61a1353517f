"""What no likeness makes up for: two prompts that differ in one of these have different answers."""

from enum import StrEnum

from policies.cache.semantic.text import Text


class Guard(StrEnum):
    """Why a kept answer is not given, whatever the score."""

    UNFIT = "unfit"
    CODE = "code"
    VERSION = "version"
    PERCENT = "percent"
    UNIT = "unit"
    NUMBER = "number"
    NEGATION = "negation"
    ANTONYM = "antonym"
    EXCLUSIVE_SET = "exclusive_set"
    QUOTE = "quote"
    NAME = "name"
    DIRECTION = "direction"
    ROLE = "role"
    QUESTION_WORD = "question_word"
    TENSE = "tense"


def refusal(asked: Text, kept: Text) -> Guard | None:
    """The first reason why the two may not share an answer; None where none is known. Symmetric."""
    if not asked.is_fit or not kept.is_fit:
        return Guard.UNFIT
    if sorted(asked.numbers) != sorted(kept.numbers):
        return Guard.NUMBER
    return None
