"""What the demo shows: each step calls the gateway as an application would and checks what comes back."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import openai
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from gateway.demo.processes import DemoError, GatewayProcess

_TIMEOUT_S = 15.0
_TIER = re.compile(r";tier=(\w+)")
# What the route `auto` has to tell apart.
_EASY = "Why do trains need signals?"
_HARD = (
    "Two trains leave at 10:02 and at 10:17 at different speeds. Derive when they meet, prove that the answer is "
    "unique, and explain why the signals must not both be green."
)


@dataclass(slots=True)
class Row:
    """One line of the table. `cost_usd` is None where nothing was charged because nothing was answered.

    `decision` is the header as it came; `tier`, `confidence` and `score` are None where nothing was judged.
    """

    step: str
    asked: str
    chosen: str
    decision: str
    tier: str | None
    confidence: float | None
    score: float | None
    attempts: int
    tokens: int
    cost_usd: float | None
    overhead_ms: float
    shown: str


@dataclass(slots=True)
class Stage:
    """What the steps play on: the gateway, a client that points at it, and the provider that can be taken away."""

    client: openai.OpenAI
    gateway: GatewayProcess
    north: GatewayProcess

    def row(self, step: str, asked: str, headers: Mapping[str, str], tokens: int, shown: str) -> Row:
        """A row from the headers of an answer and, for what is known only at its end, from the gateway's log."""
        request_id = _header(headers, "x-request-id")
        told = self.gateway.log_line(request_id)
        decision = _header(headers, "x-signalbox-decision")
        cost = headers.get("x-signalbox-cost-usd")
        if cost is None and "cost_usd" not in told:
            raise DemoError(f"{step}: neither the headers nor the log say what request {request_id} cost.")
        return Row(
            step,
            asked,
            chosen=_header(headers, "x-signalbox-model"),
            decision=decision,
            tier=found[1] if (found := _TIER.search(decision)) else None,
            confidence=told.get("confidence"),
            score=told.get("score"),
            attempts=int(_header(headers, "x-signalbox-attempts")),
            tokens=tokens,
            cost_usd=float(cost if cost is not None else told["cost_usd"]),
            overhead_ms=float(told["overhead_ms"]),
            shown=shown,
        )


Step = Callable[[Stage], list[Row]]


def client_for(base_url: str, key: str) -> openai.OpenAI:
    """The `openai` package as any application uses it: a base URL and a key.

    Retries are off, so that what the table shows is the gateway's doing; a proxy of the user's shell is left alone.
    """
    return openai.OpenAI(
        base_url=base_url,
        api_key=key,
        max_retries=0,
        timeout=_TIMEOUT_S,
        http_client=openai.DefaultHttpxClient(trust_env=False),
    )


def judged(stage: Stage) -> list[Row]:
    """Whole answers from a route, which finds a model for each request: an easy and a hard one."""
    rows = []
    for step, question, chosen in (("easy", _EASY, "north/small"), ("hard", _HARD, "south/large")):
        raw = stage.client.chat.completions.with_raw_response.create(
            model="auto", messages=[{"role": "user", "content": question}]
        )
        answer = raw.parse()
        text = answer.choices[0].message.content or ""
        _expect(step, bool(text) and answer.choices[0].finish_reason == "stop", f"no answer in {answer!r}")
        row = stage.row(step, "auto", raw.headers, _tokens(answer.usage), _short(text))
        _expect(step, row.chosen == chosen, f"{row.chosen} answered instead of {chosen}, because of '{row.decision}'")
        rows.append(row)
    return rows


def streamed(stage: Stage) -> list[Row]:
    """An answer in pieces, from a model asked for by name; the usage comes in the last piece."""
    raw = stage.client.chat.completions.with_raw_response.create(
        model="large",
        messages=[{"role": "user", "content": "Tell me the story of the first signal box."}],
        stream=True,
        stream_options={"include_usage": True},
    )
    pieces, tokens = [], 0
    for chunk in raw.parse():
        pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        tokens = _tokens(chunk.usage) or tokens
    _expect("streamed", len(pieces) > 1 and tokens > 0, f"{len(pieces)} pieces and {tokens} tokens arrived")
    return [stage.row("streamed", "large", raw.headers, tokens, f"{len(pieces)} pieces: {_short(''.join(pieces))}")]


_DEPARTURES: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_departures",
        "description": "The next departures from a station.",
        "parameters": {"type": "object", "properties": {"station": {"type": "string"}}, "required": ["station"]},
    },
}


def tools(stage: Stage) -> list[Row]:
    """A tool round trip: the model asks for a function, the application runs it, the model answers with its result."""
    messages: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "What are the next departures from York?"}
    ]
    raw = stage.client.chat.completions.with_raw_response.create(model="small", messages=messages, tools=[_DEPARTURES])
    asked = raw.parse()
    calls = [call for call in asked.choices[0].message.tool_calls or () if call.type == "function"]
    _expect("tool call", asked.choices[0].finish_reason == "tool_calls" and bool(calls), f"no tool call in {asked!r}")
    rows = []
    shown = f"{calls[0].function.name}({calls[0].function.arguments})"
    rows.append(stage.row("tool call", "small", raw.headers, _tokens(asked.usage), shown))
    messages.append(
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
                for call in calls
            ],
        }
    )
    for call in calls:
        station = json.loads(call.function.arguments)["station"]
        result = json.dumps({"station": station, "departures": ["10:02 to Leeds", "10:17 to Hull"]})
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    raw = stage.client.chat.completions.with_raw_response.create(model="small", messages=messages, tools=[_DEPARTURES])
    answer = raw.parse()
    text = answer.choices[0].message.content or ""
    _expect("tool result", bool(text), f"no answer to the tool's result in {answer!r}")
    return [*rows, stage.row("tool result", "small", raw.headers, _tokens(answer.usage), _short(text))]


class Station(BaseModel):
    """What the structured step asks for."""

    name: str
    platforms: int
    is_staffed: bool


def structured(stage: Stage) -> list[Row]:
    """An answer that is an object of a class, checked by the client."""
    raw = stage.client.chat.completions.with_raw_response.parse(
        model="large",
        messages=[{"role": "user", "content": "Describe the station of York."}],
        response_format=Station,
    )
    answer = raw.parse()
    station = answer.choices[0].message.parsed
    _expect("structured", isinstance(station, Station), f"no Station in {answer!r}")
    return [stage.row("structured", "large", raw.headers, _tokens(answer.usage), repr(station))]


def embeddings(stage: Stage) -> list[Row]:
    """Texts as vectors; equal texts have equal ones."""
    texts = ["signal box", "level crossing", "signal box"]
    raw = stage.client.embeddings.with_raw_response.create(model="embed", input=texts)
    answer = raw.parse()
    vectors = [item.embedding for item in answer.data]
    is_right = len(vectors) == len(texts) and vectors[0] == vectors[2] != vectors[1]
    _expect("embeddings", is_right, f"{len(vectors)} vectors for {len(texts)} texts, or equal texts differ")
    shown = f"{len(vectors)} vectors of {len(vectors[0])} numbers"
    return [stage.row("embeddings", "embed", raw.headers, answer.usage.total_tokens, shown)]


def wrong_name(stage: Stage) -> list[Row]:
    """A misspelt model: an error that helps, and nothing is called."""
    name = "smal"
    try:
        stage.client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hello"}])
    except openai.NotFoundError as error:
        body: dict[str, Any] = error.body if isinstance(error.body, dict) else {}
        shown = f"{body.get('message')} {body.get('hint')}"
        _expect("wrong name", "small" in shown, f"no near name in {error.body!r}")
        return [Row("wrong name", name, "-", "refused: 404", None, None, None, 0, 0, None, 0.0, shown)]
    raise DemoError(f"wrong name: the gateway answered a request for '{name}', which is no model.")


def fallback(stage: Stage) -> list[Row]:
    """One provider is ended; requests that would have gone to it are answered by the other one."""
    stage.north.stop()
    rows = []
    raw = stage.client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": "Is the line still open?"}]
    )
    answer = raw.parse()
    text = answer.choices[0].message.content or ""
    rows.append(stage.row("fallback", "auto", raw.headers, _tokens(answer.usage), _short(text)))
    stream = stage.client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": "And now in pieces?"}], stream=True
    )
    pieces = [choice.delta.content or "" for chunk in stream.parse() for choice in chunk.choices]
    told = stage.gateway.log_line(_header(stream.headers, "x-request-id"))
    tokens = int(told.get("prompt_tokens", 0)) + int(told.get("completion_tokens", 0))
    rows.append(stage.row("+ streamed", "auto", stream.headers, tokens, _short("".join(pieces))))
    for row in rows:
        is_right = row.chosen == "south/large" and row.attempts == 2 and bool(row.shown)
        _expect(row.step, is_right, f"with 'north' down, {row.chosen} answered after {row.attempts} attempts")
    return rows


STEPS: tuple[Step, ...] = (judged, streamed, tools, structured, embeddings, wrong_name, fallback)
"""In this order: the last one takes a provider away."""


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if value is None:
        raise DemoError(f"an answer of the gateway has no header '{name}'.")
    return value


def _tokens(usage: Any) -> int:
    return 0 if usage is None else int(usage.total_tokens)


def _expect(step: str, is_right: bool, otherwise: str) -> None:
    if not is_right:
        raise DemoError(f"{step}: {otherwise}.")


def _short(text: str, length: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
