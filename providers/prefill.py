"""Which models go on with an answer that somebody else began, and in which form they want to be asked for it.

The request then ends with an assistant's message: the text so far (a prefill). Most models refuse that, or begin a new
answer, so only what is known to go on is listed. A configuration may say otherwise of its own models.
"""

import re
from enum import StrEnum
from urllib.parse import urlsplit


class Prefill(StrEnum):
    """How the last message says that it is to be continued."""

    TURN = "turn"  # it is enough that it is the assistant's
    PREFIX = "prefix"  # the message has `prefix: true`
    FINAL = "continue_final_message"  # the request has members for it


# Claude 4.6 and everything since: 400, "This model does not support assistant message prefill"
# (https://platform.claude.com/docs/en/about-claude/models/migration-guide). What is not listed here is newer.
_CLAUDE = re.compile(r"claude-(?:[23][.-].*|(?:opus|sonnet|haiku)-4(?:-[015])?)(?:[-@]\d{8})?(?:-latest)?")
# "Starting with Gemini 3.6 Flash and Gemini 3.5 Flash-Lite ... all future Gemini model releases: Prefilling model turns
# is no longer supported" (https://ai.google.dev/gemini-api/docs/latest-model).
_GEMINI = re.compile(r"(?:models/)?gemini-(?:2\.|3-|3\.[01]-).*")

_FORMS = {
    # https://docs.mistral.ai/api: AssistantMessage.prefix
    "mistral": Prefill.PREFIX,
    # https://api-docs.deepseek.com/guides/chat_prefix_completion
    "deepseek": Prefill.PREFIX,
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html; SGLang has the first of the two as well
    "vllm": Prefill.FINAL,
    "openai_compatible": Prefill.FINAL,
}


def prefill_of(kind: str, model: str, base_url: str | None = None, *, stated: bool | None = None) -> Prefill | None:
    """The form in which `model` of a provider of this kind takes a prefill; None where it takes none.

    `stated` is the operator's word, which stands above what is known.
    """
    is_able = _is_able(kind, model, base_url) if stated is None else stated
    return _FORMS.get(kind, Prefill.TURN) if is_able else None


def _is_able(kind: str, model: str, base_url: str | None) -> bool:
    match kind:
        case "anthropic":
            return _CLAUDE.fullmatch(model) is not None
        case "gemini":
            return _GEMINI.fullmatch(model) is not None
        case "mistral" | "vllm":
            return True
        case "deepseek":
            # "set base_url to https://api.deepseek.com/beta": at the usual address the mark is ignored.
            return base_url is not None and urlsplit(base_url).path.rstrip("/").endswith("/beta")
        case _:
            return False
