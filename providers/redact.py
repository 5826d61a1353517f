"""Takes keys out of text that came from a provider, before anybody sees it: providers quote keys in their errors."""

import re
from collections.abc import Iterable
from typing import Any

_MARK = "[redacted]"
# Shapes of keys, whole or masked with asterisks as OpenAI quotes them ("sk-proj-****1234").
_KEY_LIKE = re.compile(
    r"""\b(?:sk|pk|rk|gsk|xai|nvapi|pplx|hf|csk|fw|key|tgp_v1|r8|glpat|ghp|gho|github_pat|AKIA|ASIA)[-_]?(?=[\w*.-]{12})
        (?=[\w*.-]*[0-9*])[\w*.-]*[\w*]
      | \bAIza[\w*-]{10,}
      | \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+
      | (?i:\bbearer\s+)[\w*.~+/=-]{8,}""",
    re.VERBOSE,
)
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
        return _KEY_LIKE.sub(_MARK, _QUOTED_KEY.sub(rf"\1{_MARK}", text))

    def value(self, value: Any) -> Any:
        """A copy of a JSON value with every string in it redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return value
