"""Vendors that speak OpenAI's dialect with small differences; the differences are data (`catalog.toml`).

The kind `openai_compatible` is any such server at a configured `base_url`; the other kinds are rows of the catalog.
"""

import base64
import hashlib
import re
from typing import Any

import orjson

from providers.base import Call, Cause, ErrorKind, ProviderError, ProviderOptions, Request, Target
from providers.bodyedit import edit
from providers.catalog import Vendor, vendors
from providers.openai import OpenAI, bearer, with_usage

KIND = "openai_compatible"

_PLACE = re.compile(r"\{(\w+)\}")


def build(options: ProviderOptions) -> "OpenAICompatible":
    """The provider for one row of the configuration. Raises ValueError when something the vendor needs is missing."""
    vendor = vendors().get(options.kind) or Vendor(kind=KIND, is_keyless=True)
    base_url = options.base_url or vendor.base_url
    if not base_url:
        raise ValueError(f"Provider '{options.name}': '{options.kind}' has no default address; set base_url.")
    if not vendor.is_keyless and not options.api_key:
        example = f" (for example ${vendor.env_key})" if vendor.env_key else ""
        raise ValueError(f"Provider '{options.name}': '{options.kind}' needs a key; set api_key{example}.")
    return OpenAICompatible(options, vendor, _PLACE.sub(lambda place: _option(options, place[1]), base_url))


class OpenAICompatible(OpenAI):
    """A Provider for one vendor of the catalog."""

    def __init__(self, options: ProviderOptions, vendor: Vendor, base_url: str) -> None:
        super().__init__(options, base_url=base_url, headers={**bearer(options), **vendor.headers})
        self._vendor = vendor
        self._tool_id = re.compile(vendor.tool_id_pattern) if vendor.tool_id_pattern else None

    def call(self, request: Request, target: Target) -> Call:
        if request.operation not in self._vendor.operations:
            raise ProviderError(
                ErrorKind.CALLER, f"{self.name} has no {request.operation} endpoint.", cause=Cause.UNSUPPORTED
            )
        body = request.body
        changes = {"model": orjson.dumps(target.model)}
        removals: set[str] = set()
        dropped = [name for name in self._vendor.drops if name in body]
        removals.update(dropped)
        if request.operation == "embeddings":
            if body.get("encoding_format", "float") not in self._vendor.embedding_formats:
                removals.add("encoding_format")  # the answer is brought into the form asked for
        else:
            self._stream_options(request, changes, removals)
            self._rename(body, changes, removals)
        if request.operation == "chat":
            self._messages(body, changes, dropped)
        return Call(
            self._urls[request.operation],
            self._headers,
            edit(request.raw, body, changes, removals),
            tuple(dropped),
        )

    def _stream_options(self, request: Request, changes: dict[str, bytes], removals: set[str]) -> None:
        if not self._vendor.has_stream_options:
            removals.add("stream_options")
        elif request.stream and not request.include_usage:
            changes["stream_options"] = with_usage(request.body.get("stream_options"))

    def _rename(self, body: dict[str, Any], changes: dict[str, bytes], removals: set[str]) -> None:
        for old, new in self._vendor.renames.items():
            if old in body:
                removals.add(old)
                if new not in body:
                    changes[new] = orjson.dumps(body[old])

    def _messages(self, body: dict[str, Any], changes: dict[str, bytes], dropped: list[str]) -> None:
        """What the vendor refuses inside the conversation. Untouched unless something of it is there."""
        messages = body.get("messages")
        if not isinstance(messages, list):
            return
        mended = messages
        if self._vendor.developer_role:
            mended = [_renamed_role(message, self._vendor.developer_role) for message in mended]
        if self._tool_id is not None:
            mended = [_with_ids(message, self._tool_id) for message in mended]
        schema = None if self._vendor.has_json_schema else _schema_of(body.get("response_format"))
        if schema is not None:
            # Without schemas a vendor can still be held to JSON; what it should look like then stands in the prompt.
            changes["response_format"] = b'{"type":"json_object"}'
            instruction = (
                f"Answer only with a JSON object that matches this JSON schema:\n{orjson.dumps(schema).decode()}"
            )
            mended = [{"role": "system", "content": instruction}, *mended]
            dropped.append("response_format.json_schema")
        if any(new is not old for new, old in zip(mended, messages, strict=False)) or len(mended) != len(messages):
            changes["messages"] = orjson.dumps(mended)


def _option(options: ProviderOptions, name: str) -> str:
    value = options.extra.get(name)
    if not value:
        raise ValueError(f"Provider '{options.name}': '{options.kind}' needs the option '{name}' for its address.")
    return str(value)


def _renamed_role(message: Any, role: str) -> Any:
    if isinstance(message, dict) and message.get("role") == "developer":
        return {**message, "role": role}
    return message


def _with_ids(message: Any, pattern: re.Pattern[str]) -> Any:
    """The message with the ids of tool calls in the vendor's form; the same foreign id always becomes the same one."""
    if not isinstance(message, dict):
        return message
    answered = message.get("tool_call_id")
    if isinstance(answered, str) and not pattern.fullmatch(answered):
        return {**message, "tool_call_id": _short_id(answered)}
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or all(_has_id(call, pattern) for call in calls):
        return message
    return {**message, "tool_calls": [c if _has_id(c, pattern) else {**c, "id": _short_id(c["id"])} for c in calls]}


def _has_id(call: Any, pattern: re.Pattern[str]) -> bool:
    identity = call.get("id") if isinstance(call, dict) else None
    return not isinstance(identity, str) or pattern.fullmatch(identity) is not None


def _short_id(identity: str) -> str:
    """Nine letters and digits."""
    digest = base64.b32encode(hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest())
    return digest[:9].decode()


def _schema_of(response_format: Any) -> Any:
    if not isinstance(response_format, dict) or response_format.get("type") != "json_schema":
        return None
    outer = response_format.get("json_schema")
    return (outer.get("schema") if isinstance(outer, dict) else None) or {}
