"""A provider that keeps its own bill, call by call, in whole nano-dollars and by a formula of its own.

What it does is decided by the name of the model. What a call is about is the first word of its prompt; no two requests
have the same.
"""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from providers.tokens import count_prompt
from tests.fakes.script import Cut, Script, Stall, Step, error, hang_up, reply, silent, sse
from tests.fakes.upstream import FakeUpstream, Recorded

# Nano-dollars per token: 0.15, 0.075 and 0.60 dollars per million.
INPUT, CACHED, OUTPUT = 150, 75, 600
PRICE = {"input_usd_per_mtok": 0.15, "cache_read_usd_per_mtok": 0.075, "output_usd_per_mtok": 0.6}
LAST_PIECE = "thatisall"  # of an answer that goes no further
_CUT = 0.8
_EVENTS = {"content-type": "text/event-stream"}


@dataclass(slots=True)
class Charge:
    """What the provider bills for one call. `is_complete`: the whole answer was sent, and its usage told."""

    word: str
    model: str
    nusd: int
    is_complete: bool = False


class Provider:
    """Answers for `upstream` from now on. Its models: `plain`, `quick`; `broken` (500, or a closed connection); `again`
    (500 for the first call about anything); `slow` (silent where the second word is "slow"); `silent`; `cut-here` (says
    some and then nothing) and `cut-there` (says some and closes, most of the time).
    """

    def __init__(self, upstream: FakeUpstream, seed: int = 1) -> None:
        self._lock = threading.Lock()
        self._charges: list[Charge] = []
        self._seen: set[str] = set()
        self._waiting: dict[str, Callable[[], None]] = {}
        self._seed = seed
        count_prompt({"messages": []}, "gpt-5")  # what it needs to count takes a moment when it is first needed
        upstream.on(self._answer)

    def charges(self, words: Sequence[str] | None = None) -> list[Charge]:
        """All of them so far, or those of calls about `words`."""
        with self._lock:
            return [charge for charge in self._charges if words is None or charge.word in words]

    def on_arrival(self, word: str, tell: Callable[[], None]) -> None:
        """Call `tell` (from another thread) when a call about `word` has arrived."""
        self._waiting[word] = tell

    def _answer(self, request: Recorded) -> Script:
        body = request.json
        word, _, rest = body["messages"][0]["content"].partition(" ")
        script = self._script(request.model.removeprefix("up-"), body, word, rest)
        tell = self._waiting.pop(word, None)
        if tell is not None:
            tell()
        return script

    def _script(self, model: str, body: Any, word: str, rest: str) -> Script:
        rng = random.Random(f"{self._seed}{word}")
        match model:
            case "broken":
                return error(500, "broken") if rng.random() < 0.5 else hang_up()
            case "again" if word not in self._seen:
                self._seen.add(word)
                return error(500, "once more, please")
            case "silent":
                self._charge(word, model, count_prompt(body, model) * INPUT)
                return silent()
            case "slow" if rest.startswith("slow"):
                self._charge(word, model, count_prompt(body, model) * INPUT)
                return silent()
            case "cut-here" | "cut-there" if model == "cut-here" or rng.random() < _CUT:
                end = Cut() if model == "cut-there" else Stall()
                return Script(200, tuple(_EVENTS.items()), self._part(model, body, word, rng, end), "chunked")
        return self._whole(model, body, word, rng)

    def _charge(self, word: str, model: str, nusd: int) -> Charge:
        charge = Charge(word, model, nusd)
        with self._lock:
            self._charges.append(charge)
        return charge

    def _whole(self, model: str, body: Any, word: str, rng: random.Random) -> Script:
        """A complete answer of any length that was allowed, with its usage; part of the prompt was known before."""
        prompt, output = count_prompt(body, model), rng.randint(1, body["max_tokens"])
        cached = prompt // 4 if rng.random() < 0.3 else 0
        charge = self._charge(word, model, (prompt - cached) * INPUT + cached * CACHED + output * OUTPUT)
        charge.is_complete = True
        usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output,
                 "prompt_tokens_details": {"cached_tokens": cached}}  # fmt: skip
        text = f"about {word}, and so on"
        if not body.get("stream"):
            message = {"role": "assistant", "content": text}
            return reply(_chat("chat.completion", [{"message": message, "finish_reason": "stop"}], usage))
        pieces = [_delta(text), _chunk([{"delta": {}, "finish_reason": "stop"}]), _chunk([], usage)]
        return sse(pieces)

    def _part(self, model: str, body: Any, word: str, rng: random.Random, end: Step) -> Iterator[Step]:
        """Some of an answer. Its tokens are four bytes each."""
        prompt = count_prompt(body, model) * INPUT
        charge = self._charge(word, model, prompt)
        said = 0
        pieces = ["a few more words " for _ in range(rng.randint(1, 8))]
        for piece in [*pieces, LAST_PIECE]:
            said += len(piece)
            charge.nusd = prompt + -(-said // 4) * OUTPUT
            yield sse([_delta(piece)], done=False).steps[0]  # type: ignore[index]
        yield end


def _chat(kind: str, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
    rows = [{"index": 0} | choice for choice in choices]
    body = {"id": "c-1", "object": kind, "created": 1, "model": "m", "choices": rows}
    return body if usage is None else body | {"usage": usage}


def _chunk(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> dict[str, Any]:
    return _chat("chat.completion.chunk", choices, usage)


def _delta(text: str) -> dict[str, Any]:
    return _chunk([{"delta": {"role": "assistant", "content": text}, "finish_reason": None}])
