"""Which dialect a request speaks, told by its path, and the model it names."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.fakes.dialects import anthropic, gemini, openai
from tests.fakes.script import Script, error

if TYPE_CHECKING:
    from tests.fakes.upstream import Recorded

_GEMINI_MODEL = re.compile(r"/models/([^:]+):\w+$")
_ROUTES: tuple[tuple[str, Callable[["Recorded"], Script]], ...] = (
    ("/chat/completions", openai.chat),
    ("/completions", openai.completions),
    ("/embeddings", openai.embeddings),
    ("/messages", anthropic.messages),
    (":generateContent", gemini.generate),
    (":streamGenerateContent", gemini.stream),
    (":embedContent", gemini.embed),
    (":batchEmbedContents", gemini.batch_embed),
)


def answer(request: "Recorded") -> Script:
    """The usual answer of a healthy provider; a provider's own error object where the request is wrong."""
    for suffix, handler in _ROUTES:
        if request.path.endswith(suffix):
            if request.method != "POST":
                return error(405, f"{request.method} is not allowed")
            return handler(request)
    return error(404, f"Invalid URL ({request.method} {request.path})")


def model_of(request: "Recorded") -> str:
    """The model a request names, in its path (Gemini, Azure) or its body; empty where there is none."""
    found = _GEMINI_MODEL.search(request.path)
    if found:
        return found[1]
    try:
        body = json.loads(request.body)
    except ValueError:
        return ""
    return str(body.get("model", "")) if isinstance(body, dict) else ""
