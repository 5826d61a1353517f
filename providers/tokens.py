"""How many tokens a prompt has: a cheap estimate for the request path, an exact count where money depends on it.

The estimate is arithmetic on lengths. The exact count uses tiktoken with rank files shipped in `ranks/`, because
tiktoken's own loader wants the network and deletes files it does not recognise. An encoding costs 0.2 s and 27-48 MB,
paid at its first use.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import orjson

if TYPE_CHECKING:
    from tiktoken import Encoding

EncodingName = Literal["cl100k_base", "o200k_base"]

# Per 1024 characters, measured against o200k_base over English questions (263), specification prose (268), Python
# (245), indented JSON (237), minified JSON (256) and Markdown (277).
_PER_KI_CHARS = 266
# ASCII without blanks or quotes is base64 (700), hexadecimal or digits (400-540).
_PER_KI_UNSPACED = 560
_SAMPLE_CHARS = 1024
# For every UTF-8 byte beyond one per character: CJK (330-430), Korean 350, Cyrillic (100-200).
_PER_KI_EXTRA_BYTES = 287


def estimate(text: str) -> int:
    """Tokens of a text by its length; 0.5 us for a short one.

    Against o200k_base, whole texts: within 12 % for English, Python, JSON, Markdown, German, Spanish, Japanese and
    Korean; -15 to -27 % for Italian, Chinese, Turkish, Polish; +42 % for Russian; -20 % for base64; -43 % for log lines
    full of hexadecimal and -50 % for lists of numbers. A slice of 100-1,000 characters of English or code is within -30
    to +50 % in nine of ten cases. Not a bound: reserve money on `count_prompt`, or on bytes.
    """
    length = len(text)
    if text.isascii():
        sampled = min(length, _SAMPLE_CHARS)
        if length > 64 and text.count(" ", 0, sampled) * 64 < sampled and text.find('"', 0, sampled) < 0:
            return (length * _PER_KI_UNSPACED + 1023) >> 10
        return (length * _PER_KI_CHARS + 1023) >> 10
    extra = len(text.encode("utf-8", "surrogatepass")) - length
    return (length * _PER_KI_CHARS + extra * _PER_KI_EXTRA_BYTES + 1023) >> 10


def count(text: str, model: str) -> int:
    """Tokens of a text in the encoding of `model` (an approximation for models that are not OpenAI's).

    24-36 MB/s with the GIL released: run texts for which `is_inline` says no, and the first use of an encoding, off the
    event loop. A piece that the encoder cannot take is counted by its bytes, which are no fewer.
    """
    encode = load_encoding(encoding_name(model)).encode_ordinary
    total = 0
    for piece in _pieces(text):
        try:
            total += len(encode(piece))
        except BaseException as error:
            # pyo3's PanicException is no Exception; what it stands for is a bug of the encoder, not of this process.
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            total += len(piece.encode("utf-8", "surrogatepass"))
    return total


INLINE_BYTES = 65_536


def is_inline(body_size: int) -> bool:
    """Whether counting a body of so many bytes may run on the event loop: up to 64 KiB, 2 to 8 ms.

    Not before the encoding is loaded (`load_encoding`, 0.2 s): do that once, in a thread.
    """
    return body_size <= INLINE_BYTES


def estimate_prompt(body: Mapping[str, Any]) -> int:
    """Input tokens of a chat, completion or embedding body by `estimate`; tools and images included. Never raises."""
    messages = body.get("messages")
    if type(messages) is list and "tools" not in body and "response_format" not in body:
        total = _REPLY_PRIMER
        for message in messages:
            content = message.get("content") if type(message) is dict and message.keys() <= _OF_TEXT else None
            if type(content) is not str:
                break
            total += _PER_MESSAGE + estimate(content)
        else:
            return total
    return _prompt_tokens(body, estimate, _estimate_tools)


def count_prompt(body: Mapping[str, Any], model: str) -> int:
    """Input tokens of a chat, completion or embedding body by `count`.

    Exact for text messages to OpenAI models; tools follow the published formula for flat parameters, images and files
    are estimates. Run it off the event loop for long bodies (`is_inline`).
    """

    def measure(text: str) -> int:
        return count(text, model)

    def measure_tools(tools: Sequence[Any]) -> int:
        return _count_tools(tools, measure, 10 if encoding_name(model) == "cl100k_base" else 7)

    return _prompt_tokens(body, measure, measure_tools)


# https://github.com/openai/tiktoken/blob/main/tiktoken/model.py; everything newer is o200k_base.
_CL100K_MODELS = ("gpt-4-", "gpt-3.5", "gpt-35", "text-embedding-", "davinci-002", "babbage-002")
_CL100K_TUNED = ("ft:gpt-4-", "ft:gpt-4:", "ft:gpt-3.5", "ft:davinci-002", "ft:babbage-002")


def encoding_name(model: str) -> EncodingName:
    """The encoding of an OpenAI model; the nearest guess, o200k_base, for all others. Vendor prefixes are ignored."""
    name = model.rsplit("/", 1)[-1].lower()
    if name == "gpt-4" or name.startswith(_CL100K_MODELS) or name.startswith(_CL100K_TUNED):
        return "cl100k_base"
    return "o200k_base"


# https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py (MIT, notice in ranks/LICENSE)
_SPLIT_PATTERNS: Mapping[EncodingName, str] = {
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "o200k_base": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}


@cache
def load_encoding(name: EncodingName) -> "Encoding":
    """The encoding, built from our own rank file on first use: 0.2 s, 27 MB (cl100k_base) or 48 MB (o200k_base)."""
    from binascii import a2b_base64  # noqa: PLC0415 - with tiktoken, only when an exact count is wanted

    from tiktoken import Encoding  # noqa: PLC0415

    lines = files("providers").joinpath("ranks", f"{name}.tiktoken").read_bytes().splitlines()
    ranks = {a2b_base64(token): int(rank) for token, rank in map(bytes.split, lines)}
    # Special tokens are left out: in a caller's text they are text, and counted as the provider counts them.
    encoding = Encoding(name, pat_str=_SPLIT_PATTERNS[name], mergeable_ranks=ranks, special_tokens={})
    ranks.clear()  # the encoder has a copy of its own; this one, 27 MB, would only be kept for pickling
    return encoding


_PIECE_CHARS = 65_536


def _pieces(text: str) -> Iterator[str]:
    """Cut long texts where no token can span the cut.

    About a million blanks in one piece make tiktoken panic with a BaseException, so even a run of blanks is cut.
    """
    start = 0
    while len(text) - start > _PIECE_CHARS:
        border = _border(text, start, start + _PIECE_CHARS)
        yield text[start:border]
        start = border
    yield text[start:] if start else text


def _border(text: str, start: int, end: int) -> int:
    """The last place before `end` where a blank follows a non-blank; `end` itself if there is none."""
    at = text.rfind(" ", start + 1, end)
    while at > start:
        at = start + len(text[start:at].rstrip())
        if at > start and text[at] == " ":
            return at
        at = text.rfind(" ", start + 1, at)
    return end


_Measure = Callable[[str], int]
_MeasureTools = Callable[[Sequence[Any]], int]

# https://github.com/openai/openai-cookbook/blob/main/examples/How_to_count_tokens_with_tiktoken.ipynb
_PER_MESSAGE = 3 + 1  # framing, and the role's own token
_PER_NAME = 1
_REPLY_PRIMER = 3
_OF_TEXT = frozenset(("role", "content"))  # what messages of text alone have


def _prompt_tokens(body: Mapping[str, Any], measure: _Measure, measure_tools: _MeasureTools) -> int:
    messages = body.get("messages")
    if not isinstance(messages, list):
        return _inputs(body.get("input", body.get("prompt")), measure)
    total = _REPLY_PRIMER
    for message in messages:
        if isinstance(message, dict):
            total += _message(message, measure)
    tools = body.get("tools")
    if isinstance(tools, list) and tools:
        total += measure_tools(tools)
    response_format = body.get("response_format")
    if isinstance(response_format, dict) and "json_schema" in response_format:
        total += measure(orjson.dumps(response_format["json_schema"]).decode())  # shown to the model as text
    return total


def _message(message: dict[str, Any], measure: _Measure) -> int:
    total = _PER_MESSAGE
    content = message.get("content")
    if isinstance(content, str):
        total += measure(content)
    elif isinstance(content, list):
        total += sum(_part(part, measure) for part in content if isinstance(part, dict))
    name = message.get("name")
    if isinstance(name, str):
        total += measure(name) + _PER_NAME
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        for call in calls:
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                total += _PER_MESSAGE + measure(f"{function.get('name')}{function.get('arguments')}")
    return total


# https://platform.openai.com/docs/guides/images-vision: 85 tokens at low detail; 85 + 170 per 512-pixel tile,
# four tiles for the common 1024 x 1024, at high. Sizes are not looked up.
_IMAGE_LOW, _IMAGE_HIGH = 85, 765
# A page of PDF is read as text and as an image; documents of unknown length count as two.
_FILE = 2 * (_IMAGE_HIGH + 500)
# Ten tokens a second of 24 kHz 16-bit audio, of which base64 needs 64,000 characters.
_AUDIO_CHARS_PER_TOKEN = 6_400


def _part(part: dict[str, Any], measure: _Measure) -> int:
    text = part.get("text", part.get("refusal"))
    if isinstance(text, str):
        return measure(text)
    match part.get("type"):
        case "image_url":
            image = part.get("image_url")
            return _IMAGE_LOW if isinstance(image, dict) and image.get("detail") == "low" else _IMAGE_HIGH
        case "input_audio":
            audio = part.get("input_audio")
            data = audio.get("data") if isinstance(audio, dict) else None
            return len(data) // _AUDIO_CHARS_PER_TOKEN + 1 if isinstance(data, str) else 0
        case "file":
            return _FILE
        case _:
            return 0


def _inputs(value: object, measure: _Measure) -> int:
    """`input` or `prompt`: a text, a list of texts, one list of token numbers, or a list of those."""
    if isinstance(value, str):
        return measure(value)
    if isinstance(value, list):
        return sum(1 if isinstance(item, int) else _inputs(item, measure) for item in value)
    return 0


def _estimate_tools(tools: Sequence[Any]) -> int:
    """Tools by the length of their JSON: providers render them more tersely (148 per 1024 characters, measured)."""
    return (len(orjson.dumps(tools)) * 148 >> 10) + _TOOLS_END


_PER_PROPERTIES = 3
_PER_PROPERTY = 3
_PER_ENUM, _PER_ENUM_ITEM = -3, 3
_TOOLS_END = 12


def _count_tools(tools: Sequence[Any], measure: _Measure, per_function: int) -> int:
    """The cookbook's formula; nested schemas, which it does not cover, are counted as the JSON they are."""
    total = _TOOLS_END
    for tool in tools:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            total += measure(orjson.dumps(tool).decode())
            continue
        description = str(function.get("description") or "").removesuffix(".")
        total += per_function + measure(f"{function.get('name')}:{description}")
        parameters = function.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, dict) else None
        if isinstance(properties, dict) and properties:
            total += _PER_PROPERTIES + sum(
                _count_property(name, schema, measure) for name, schema in properties.items()
            )
    return total


def _count_property(name: str, schema: object, measure: _Measure) -> int:
    if not isinstance(schema, dict):
        return _PER_PROPERTY + measure(name)
    description = str(schema.get("description") or "").removesuffix(".")
    total = _PER_PROPERTY + measure(f"{name}:{schema.get('type', '')}:{description}")
    enum = schema.get("enum")
    if isinstance(enum, list):
        total += _PER_ENUM + sum(_PER_ENUM_ITEM + measure(str(item)) for item in enum)
    nested = {key: value for key, value in schema.items() if key not in ("type", "description", "enum")}
    return total + measure(orjson.dumps(nested).decode()) if nested else total
