"""The openai package as a process that a test talks to: one JSON line in (what to do), one JSON line out (what came).

It runs under any interpreter that has some version of the package, so that several major versions are driven by the
same cases. It imports nothing of this repository. The argument says which of the package's two clients is used; times
are `time.monotonic()` seconds.
"""

import asyncio
import inspect
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import openai
from pydantic import BaseModel


class City(BaseModel):
    city: str
    population: int


async def got(value: Any) -> Any:
    """The value of a synchronous or an asynchronous call."""
    return await value if inspect.isawaitable(value) else value


async def each(stream: Any) -> AsyncIterator[Any]:
    """The items of a synchronous or an asynchronous stream."""
    if hasattr(stream, "__aiter__"):
        async for item in stream:
            yield item
    else:
        for item in stream:
            yield item


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


def described(completion: Any) -> dict[str, Any]:
    """What a test looks at in a whole answer, parsed or not."""
    data = completion.model_dump()
    choice = data["choices"][0]
    message = choice["message"]
    return {
        "text": message["content"],
        "texts": [c["message"]["content"] for c in data["choices"]],
        "refusal": message.get("refusal"),
        "finish": choice["finish_reason"],
        "finishes": [c["finish_reason"] for c in data["choices"]],
        "indexes": [c["index"] for c in data["choices"]],
        "calls": [
            {
                "name": c["function"]["name"],
                "arguments": json.loads(c["function"]["arguments"]),
                "has_id": bool(c["id"]),
            }
            for c in message.get("tool_calls") or []
        ],
        "call_ids": [c["id"] for c in message.get("tool_calls") or []],
        "usage": counted(data.get("usage")),
        "logprobs": logprobs_of(choice),
        "model": data["model"],
        "object": data["object"],
        "fingerprint": data.get("system_fingerprint"),
        "request_id": completion._request_id,
        "message_keys": sorted(message),
        "message": message,
    }


def logprobs_of(choice: dict[str, Any]) -> list[Any]:
    content = (choice.get("logprobs") or {}).get("content") or []
    return [[t["token"], t["logprob"], [top["token"] for top in t["top_logprobs"]]] for t in content]


def counted(usage: dict[str, Any] | None) -> dict[str, int] | None:
    if usage is None:
        return None
    return {
        "prompt": usage["prompt_tokens"],
        "completion": usage["completion_tokens"],
        "total": usage["total_tokens"],
        "cached": (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        "reasoning": (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
    }


class Gathered:
    """A stream put together from its chunks, the way applications do it."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.roles: list[str] = []
        self.texts: dict[int, str] = {}
        self.calls: dict[tuple[int, int], dict[str, str]] = {}
        self.finishes: dict[int, list[str]] = {}
        self.usages: list[Any] = []
        self.usage_choices: list[int] = []
        self.logprobs: list[Any] = []
        self.count = 0

    def add(self, chunk: Any) -> None:
        data = chunk.model_dump()
        self.count += 1
        self.ids.add(data["id"])
        if data.get("usage"):
            self.usages.append(counted(data["usage"]))
            self.usage_choices.append(len(data["choices"]))
        for choice in data["choices"]:
            index, delta = choice["index"], choice["delta"]
            if delta.get("role"):
                self.roles.append(delta["role"])
            self.texts[index] = self.texts.get(index, "") + (delta.get("content") or "")
            if choice["finish_reason"] is not None:
                self.finishes.setdefault(index, []).append(choice["finish_reason"])
            self.logprobs += logprobs_of(choice)
            for call in delta.get("tool_calls") or []:
                held = self.calls.setdefault((index, call["index"]), {"id": "", "name": "", "arguments": ""})
                held["id"] += call.get("id") or ""
                held["name"] += call["function"].get("name") or ""
                held["arguments"] += call["function"].get("arguments") or ""

    def result(self) -> dict[str, Any]:
        return {
            "ids": len(self.ids),
            "roles": self.roles,
            "text": self.texts.get(0, ""),
            "texts": [text for _, text in sorted(self.texts.items())],
            "finish": self.finishes.get(0, [None])[0],
            "finish_counts": [len(f) for _, f in sorted(self.finishes.items())],
            "calls": [
                {"name": c["name"], "arguments": json.loads(c["arguments"]), "has_id": bool(c["id"])}
                for _, c in sorted(self.calls.items())
            ],
            "call_ids": [c["id"] for _, c in sorted(self.calls.items())],
            "usages": self.usages,
            "usage_choices": self.usage_choices,
            "logprobs": self.logprobs,
            "count": self.count,
        }


async def create(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    raw = await got(client.chat.completions.with_raw_response.create(**job["body"], extra_body=job.get("extra")))
    return described(await got(raw.parse())) | {"headers": {k.lower(): v for k, v in raw.headers.items()}}


async def stream(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    gathered = Gathered()
    try:
        async for chunk in each(await got(client.chat.completions.create(**job["body"], stream=True))):
            gathered.add(chunk)
    except openai.APIError as error:
        return {"raised": explained(error), "text": gathered.texts.get(0, "")}
    return gathered.result()


async def parse(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    completion = await got(client.chat.completions.parse(**job["body"], response_format=City))
    return {
        "parsed": completion.choices[0].message.parsed.model_dump(),
        "refusal": completion.choices[0].message.refusal,
    }


async def parse_beta(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    """The older name of `parse`, where this version still has it."""
    chat = getattr(client.beta, "chat", client.chat)
    completion = await got(chat.completions.parse(**job["body"], response_format=City))
    return {
        "parsed": completion.choices[0].message.parsed.model_dump(),
        "refusal": completion.choices[0].message.refusal,
    }


async def parse_tools(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Tool arguments parsed by the SDK, from a tool made of a class."""
    tool = openai.pydantic_function_tool(City, name="save_city")
    completion = await got(client.chat.completions.parse(**job["body"], tools=[tool]))
    call = completion.choices[0].message.tool_calls[0]
    return {"parsed": call.function.parsed_arguments.model_dump(), "name": call.function.name}


async def parse_stream(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    kinds: set[str] = set()
    async with entered(client.chat.completions.stream(**job["body"], response_format=City)) as events:
        async for event in each(events):
            kinds.add(event.type)
        final = await got(events.get_final_completion())
    return {"parsed": final.choices[0].message.parsed.model_dump(), "has_delta_events": "content.delta" in kinds}


async def embed(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    made = await got(client.embeddings.create(**job["body"]))
    return {
        "vectors": [item.embedding for item in made.data],
        "indexes": [item.index for item in made.data],
        "prompt": made.usage.prompt_tokens,
        "object": made.object,
    }


async def complete(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    made = await got(client.completions.create(**job["body"]))
    return {"texts": [c.text for c in made.choices], "usage": counted(made.usage.model_dump()), "object": made.object}


async def complete_stream(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    texts: dict[int, str] = {}
    usages = []
    async for chunk in each(await got(client.completions.create(**job["body"], stream=True))):
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
        if chunk.usage:
            usages.append(counted(chunk.usage.model_dump()))
    return {"texts": [text for _, text in sorted(texts.items())], "usages": usages}


async def models(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    page = await got(client.models.list())
    return {"ids": [m.id for m in page.data], "objects": sorted({m.object for m in page.data}), "object": page.object}


async def model(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    found = await got(client.models.retrieve(job["id"]))
    return {"id": found.id, "object": found.object, "has_owner": bool(found.owned_by), "created": found.created}


async def get(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    return {"body": await got(client.get(job["path"], cast_to=object))}


async def post(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    options = {"headers": job["headers"]}
    return {"body": await got(client.post(job["path"], body=job["body"], options=options, cast_to=object))}


async def leave_stream(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Close the stream after its first text."""
    reading = await got(client.chat.completions.create(**job["body"], stream=True))
    text = ""
    async for chunk in each(reading):
        text = (chunk.choices[0].delta.content or "") if chunk.choices else ""
        if text:
            break
    left_at = time.monotonic()
    await got(reading.close())
    return {"text": text, "left_at": left_at}


async def leave_early(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Give up `after_s` seconds into a call that has no answer yet: a cancelled task, or a timeout without tasks.

    The package's timeout is one for each step of a call. It ends the call after `not_before`, and has when it says so.
    """
    made = client.chat.completions.create
    if isinstance(client, openai.AsyncOpenAI):
        task = asyncio.ensure_future(made(**job["body"]))
        await asyncio.sleep(job["after_s"])
        left_at = time.monotonic()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return {"left_at": left_at, "not_before": left_at}
    else:
        began = time.monotonic()
        try:
            made(**job["body"], timeout=job["after_s"])
        except openai.APITimeoutError:
            return {"left_at": time.monotonic(), "not_before": began + job["after_s"]}
    return {"answered": True}


def explained(error: Exception) -> dict[str, Any]:
    """What an application can tell about a failure."""
    body = getattr(error, "body", None)
    return {
        "class": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "message": getattr(error, "message", str(error)),
        "code": getattr(error, "code", None),
        "type": getattr(error, "type", None),
        "param": getattr(error, "param", None),
        "request_id": getattr(error, "request_id", None),
        "keys": sorted(body) if isinstance(body, dict) else None,
    }


Operation = Callable[[Any, dict[str, Any]], Awaitable[dict[str, Any]]]
_CHAT: tuple[Operation, ...] = (create, stream, parse, parse_beta, parse_tools, parse_stream)
_REST: tuple[Operation, ...] = (embed, complete, complete_stream, models, model, get, post, leave_stream, leave_early)
OPERATIONS = {operation.__name__: operation for operation in (*_CHAT, *_REST)}


class Session:
    """Clients by address, key and retries, kept so that connections are reused as in an application."""

    def __init__(self, mode: str) -> None:
        self._make: Any = openai.AsyncOpenAI if mode == "async" else openai.OpenAI
        self._clients: dict[tuple[str, str, int], Any] = {}

    async def run(self, job: dict[str, Any]) -> dict[str, Any]:
        key = (job["base_url"], job["api_key"], job["retries"])
        if key not in self._clients:
            self._clients[key] = self._make(base_url=key[0], api_key=key[1], max_retries=key[2], timeout=60)
        try:
            return await OPERATIONS[job["op"]](self._clients[key], job)
        except openai.OpenAIError as error:
            return {"raised": explained(error)}


def main() -> None:
    session = Session(sys.argv[1])
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            try:
                answer = runner.run(session.run(json.loads(line)))
            except Exception as error:  # reported to the test, which fails on it
                answer = {"crashed": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
