"""Takes keys out of text that came from a provider, before anybody sees it: providers quote keys in their errors."""

import re
from collections.abc import Iterable
from typing import Any

_MARK = "[redacted]"
# Beyond this a member of an error is left out: walking it would take a stack of its own, and nobody reads that far.
_MAX_DEPTH = 32
# Keys are looked for inside whole words, each of which is searched once: a pattern that began anew at every "sk-" took
# half a minute for an error body of 256 KiB made of them.
_WORD = re.compile(r"[\w*.-]{12,}")
# Shapes of keys, whole or masked with asterisks as OpenAI quotes them ("sk-proj-****1234"); a digit or `*` follows.
_KEY_LIKE = re.compile(
    r"""\b(?:sk|pk|rk|gsk|xai|nvapi|pplx|hf|csk|fw|key|tgp_v1|r8|glpat|ghp|gho|github_pat|AKIA|ASIA)[-_]?
        (?=[\w*.-]{12})""",
    re.VERBOSE,
)
_DIGIT = re.compile(r"[0-9*]")
_GOOGLE_KEY = re.compile(r"\bAIza(?=[\w*-]{10})")
_TOKEN_HEAD = re.compile(r"\beyJ(?=[\w-]{8})")
_TOKEN_PART = re.compile(r"[\w-]{8,}+\Z")
_BEARER = re.compile(r"(?i:\bbearer\s+)[\w*.~+/=-]{8,}")
# What follows "API key provided:" is a key, whatever it looks like.
_QUOTED_KEY = re.compile(r"(?i)(\bapi[ _-]?key\b[\w ]{0,24}[:=]\s*[\"'`]?)([^\s\"'`,;)]*[^\s\"'`,;).])")


class Redactor:
    """Removes the given secrets and anything shaped like a key. Secrets shorter than 6 characters are no secrets."""

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Iterable[str | None]) -> None:
        self._secrets = sorted({s for s in secrets if s and len(s) >= 6}, key=len, reverse=True)

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _MARK)
        return _WORD.sub(_masked, _BEARER.sub(_MARK, _QUOTED_KEY.sub(rf"\1{_MARK}", text)))

    def value(self, value: Any, depth: int = _MAX_DEPTH) -> Any:
        """A copy of a JSON value with every string in it redacted, and what is nested deeper than `depth` left out."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict | list) and depth == 0:
            return None
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item, depth - 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, depth - 1) for item in value]
        return value


def _masked(found: re.Match[str]) -> str:
    """A word without the key that it ends with, if it does."""
    word = found[0]
    starts = [start for start in (_key_start(word), _token_start(word)) if start is not None]
    if (google := _GOOGLE_KEY.search(word)) is not None:
        starts.append(google.start())
    if not starts:
        return word
    return word[: min(starts)] + _MARK + word[len(word.rstrip(".-")) :]


def _key_start(word: str) -> int | None:
    found = _KEY_LIKE.search(word)  # where the first has no digit behind it, none of the others has
    return found.start() if found is not None and _DIGIT.search(word, found.end()) else None


def _token_start(word: str) -> int | None:
    """Where a JSON Web Token begins: three parts with dots between them, the first of which is a JSON object."""
    at = 0
    parts = word.split(".")
    for head, claims, signature in zip(parts, parts[1:], parts[2:], strict=False):
        start = head.rfind("*") + 1
        found = _TOKEN_HEAD.search(head, start)
        if found is not None and _TOKEN_PART.match(claims) and signature[:1].strip("*"):
            return at + found.start()
        at += len(head) + 1
    return None
