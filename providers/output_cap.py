"""Keeps an answer within what was set aside for it: the limit is written into the request, as the caller would."""

from dataclasses import replace

from providers.base import Request, Target
from providers.bodyedit import edit

# The newer name wins where a dialect reads both. https://platform.openai.com/docs/api-reference/chat/create
_NAMES = ("max_completion_tokens", "max_tokens")
# OpenAI's reasoning models refuse the older name; elsewhere it is the one that every server knows.
_NEW_NAME_KINDS = frozenset({"openai", "azure"})


def capped(request: Request, target: Target, kind: str, cap: int) -> Request:
    """The request with its output limit lowered, or set, to `cap` tokens per choice and to what the target can write.

    `kind` is the provider's. The request itself is not changed; it comes back where nothing has to be said.
    """
    body = request.body
    if request.operation == "embeddings":
        return request
    if target.max_output_tokens is not None:
        cap = min(cap, target.max_output_tokens)
    given = {name: body[name] for name in _NAMES if body.get(name) is not None}
    if not given:
        is_new = kind in _NEW_NAME_KINDS and request.operation == "chat"
        limits = {_NAMES[0] if is_new else _NAMES[1]: cap}
    else:
        # Some servers take numbers below the least that makes sense as "without a limit".
        least = 1 if request.operation == "chat" else 0
        limits = {name: cap for name, limit in given.items() if type(limit) is not int or not least <= limit <= cap}
    if not limits:
        return request
    raw = edit(request.raw, body, {name: b"%d" % limit for name, limit in limits.items()})
    return replace(request, body={**body, **limits}, raw=raw)
