"""The contract between the gateway and one wire dialect, and the nouns that cross it.

A provider is a pure translator: it turns a `Request` into the `Call` to send, and what came back into a `Reply`, a
stream of OpenAI frames, or a `ProviderError`. It never sends, retries, logs or counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from providers.prefill import Prefill

Operation = Literal["chat", "completions", "embeddings"]


class ErrorKind(StrEnum):
    """What went wrong, as far as the next step is concerned; the verdict table is keyed by it."""

    CALLER = "caller"  # the request itself is wrong; any provider would refuse it
    CONTEXT_LENGTH = "context_length"  # caller's, but a larger model may take it
    CONTENT_FILTER = "content_filter"  # caller's, but another provider may answer
    THROTTLED = "throttled"  # rate limit with a way back
    MONEY = "money"  # quota or credit used up at the provider
    CREDENTIALS = "credentials"  # our key is wrong or not allowed
    OVERLOADED = "overloaded"  # 503, 529, 408, 425
    BROKEN = "broken"  # 5xx, connect, reset, bad body, timeouts
    STALE = "stale"  # a reused connection died before any byte came back
    LOCAL = "local"  # our own fault or choice; nothing was sent


class Cause(StrEnum):
    """Where the failure was seen; a closed set that is safe as a metric label."""

    STATUS = "status"  # an error status
    CONNECT = "connect"  # no connection: refused, DNS, TLS, connect timeout
    RESET = "reset"  # the connection died before the answer was whole
    TTFT = "ttft"  # no content before the first-content limit
    IDLE = "idle"  # silence between two pieces of content
    TOTAL = "total"  # the whole exchange took too long
    GARBAGE = "garbage"  # bytes that are not the dialect
    CUT = "cut"  # the stream ended without its terminal event
    IN_BAND = "in_band"  # an error object inside a 200 answer
    UNSUPPORTED = "unsupported"  # the dialect cannot carry this request
    TOO_LARGE = "too_large"  # answer or event beyond our size limit


class ProviderError(Exception):
    """A failed attempt, classified.

    `status` is the upstream's HTTP status (None when there was none). `error` is an OpenAI-shaped error object
    (`message`, `type`, `param`, `code`; further vendor keys are kept) whose text is meant for the caller.
    `retry_after_s` is the provider's own hint in seconds.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        cause: Cause = Cause.STATUS,
        status: int | None = None,
        error: dict[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.cause = cause
        self.status = status
        self.message = message
        self.error = error if error is not None else error_object(message)
        self.retry_after_s = retry_after_s


def error_object(
    message: str, type_: str = "upstream_error", param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """An OpenAI error object: all four keys are always there, because SDKs read them unguarded."""
    return {"message": message, "type": type_, "param": param, "code": code}


@dataclass(slots=True)
class Usage:
    """Tokens of one exchange in disjoint classes: every token is counted in exactly one field.

    A value: it is never changed once made. (Freezing it would cost two microseconds per request.)

    `input` is uncached text input; `output` is visible text output without reasoning. The OpenAI totals are sums:
    `prompt_tokens` and `completion_tokens` below. `searches` counts what is paid apart from tokens: web searches that
    the provider ran. `service_tier` is the tariff the provider says it applied (`default`, `flex`, `priority`, ...),
    None where it said nothing. `is_estimated` marks counts of our own where the provider gave none. `reported_nusd`
    (nano-dollars) is what the provider itself says it charged.
    """

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    image_input: int = 0
    output: int = 0
    reasoning: int = 0
    audio_output: int = 0
    image_output: int = 0
    searches: int = 0
    service_tier: str | None = None
    is_estimated: bool = False
    reported_nusd: int | None = None

    @property
    def prompt_tokens(self) -> int:
        """All input classes: what OpenAI calls prompt_tokens (cached tokens included)."""
        return (
            self.input
            + self.cache_read
            + self.cache_write_5m
            + self.cache_write_1h
            + self.audio_input
            + self.image_input
        )

    @property
    def completion_tokens(self) -> int:
        """All output classes: what OpenAI calls completion_tokens (reasoning included)."""
        return self.output + self.reasoning + self.audio_output + self.image_output


@dataclass(slots=True)
class Request:
    """One inbound call in OpenAI's shape.

    `body` is the parsed JSON object, shared by all attempts: providers never mutate it. `raw` is the caller's bytes.
    `model` is the name the caller asked for. `include_usage` tells whether the caller wants the final usage chunk.
    """

    operation: Operation
    body: dict[str, Any]
    raw: bytes
    model: str
    stream: bool
    include_usage: bool
    request_id: str


@dataclass(slots=True, frozen=True)
class Target:
    """The upstream side of a deployment: which model to name and what is known about it."""

    model: str
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] | None = None  # None: unknown, assume it can
    prefill: Prefill | None = None  # how it is asked to go on with an answer; None: it cannot
    thinks: bool = False  # before it speaks, so that its first word may take minutes


@dataclass(slots=True)
class Call:
    """One HTTP request, ready to send. `dropped` names request parameters this dialect could not carry."""

    url: str
    headers: list[tuple[str, str]]
    body: bytes
    dropped: tuple[str, ...] = ()
    method: str = "POST"


@dataclass(slots=True)
class Reply:
    """A whole answer in OpenAI's shape: `body` is the JSON text to send to the caller."""

    body: bytes
    usage: Usage | None
    finish_reason: str | None = None


class StreamDecoder(Protocol):
    """Turns upstream stream bytes into OpenAI server-sent events. One instance per attempt.

    `feed` takes any slice of the upstream body and returns the complete OpenAI events it gave rise to, ready to send
    (possibly b""). `close` is called once when the upstream body ended normally and returns the final events; a stream
    that lacks its terminal event sets `error` with Cause.CUT instead. Neither raises: after each call look at `error`.
    `has_content` becomes true with the first content-bearing event (text, tool call, refusal, reasoning, audio; not
    role-only deltas, comments or empty chunks): until then nothing has to reach the client and another candidate may
    still answer.
    `is_finished` becomes true when every choice has its finish_reason. `output_bytes` counts generated content for
    estimates when a cut stream never told its usage.
    """

    usage: Usage | None
    error: ProviderError | None
    finish_reason: str | None
    has_content: bool
    is_finished: bool
    output_bytes: int

    def feed(self, data: bytes) -> bytes: ...

    def close(self) -> bytes: ...


@dataclass(slots=True, frozen=True)
class ProviderOptions:
    """One row of `providers:` in the configuration, with `$ENV` references resolved. `extra` has kind-specific keys."""

    name: str
    kind: str
    api_key: str | None = None
    base_url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


class OptionError(ValueError):
    """An option of a provider has a value that its kind cannot use."""

    def __init__(self, provider: str, option: str, problem: str) -> None:
        super().__init__(f"Provider '{provider}': '{option}' {problem}.")
        self.option = option


class Provider(Protocol):
    """One configured upstream. Modules in this package that set `KIND` also define `build(options) -> Provider`, and
    name what they read of `options.extra` in `OPTIONS`.
    """

    name: str
    kind: str

    def call(self, request: Request, target: Target) -> Call:
        """The HTTP request to send. Raises ProviderError(CALLER or LOCAL, cause=UNSUPPORTED) if it cannot be said."""
        ...

    def reply(self, request: Request, target: Target, body: bytes) -> Reply:
        """Translate a 2xx body. Raises ProviderError (GARBAGE, IN_BAND)."""
        ...

    def decoder(self, request: Request, target: Target) -> StreamDecoder:
        """A fresh decoder for a 2xx event stream."""
        ...

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Classify a non-2xx answer. `headers` has lower-case names."""
        ...
