"""The text a request is judged by: what the person wrote last, without what a harness put around it.

Every step looks at a bounded part, so a million characters cost what three thousand do. The patterns here are ours,
fixed and without nested repetition, hence linear; a caller's pattern never gets here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HEAD_CHARS = 2_000
TAIL_CHARS = 1_000
# How far back a user's turn is looked for, how many parts of it are read (half of them from its end), how many blocks
# are cut out of one part.
_MESSAGES_BACK = 64
_PARTS = 32
_BLOCKS = 16
# A block that does not end within this many characters is not a block but text.
_BLOCK_CHARS = 400_000

# What coding agents, editors and chat front ends wrap their own text in.
_BLOCK_NAMES = (
    "additional_data|additional_context|attached_files?|attachments?|bash-std(?:out|err)|blockquote|chat_history|"
    "command-(?:args|contents|message|name)|context|conversation_history|custom_instructions|documents?|editor_context|"
    "environment_(?:context|details)|file_(?:content|contents|tree)|ide_(?:opened_file|selection|state)|"
    "local-command-(?:caveat|std(?:out|err))|memory|open_files|permissions|post-tool-use-hook|project_layout|"
    "quoted?(?:_context|_message|_reminder)?|reminders?|reminderInstructions|retrieved_context|system[-_]reminder|"
    "system[-_]warning|todo_list|tool_use_error|user-prompt-submit-hook|user_instructions|workspace_info"
)
_OPENING = re.compile(rf"<({_BLOCK_NAMES})(?=[\s>])", re.IGNORECASE)
_CLOSING = re.compile(rf"</({_BLOCK_NAMES})>", re.IGNORECASE)

# Courtesies at the ends say nothing about the task; a text that is hardly more than one keeps it.
_GREETING = re.compile(
    r"(?:(?:hi|hello|hey|dear \w{1,20})\b(?: there| all)?[\s,.!:]*"
    r"|please\b(?: help\b(?: me)?)?[\s,.!:]*|question:\s*){1,3}",
    re.IGNORECASE,
)
_THANKS = re.compile(
    r"[\s,]*(?:thanks|thank you|many thanks|thx|cheers|please)(?: in advance| so much| a lot)?[\s.!]*\Z", re.IGNORECASE
)
# No other character begins a greeting; and without one of four words in the tail nobody thanks: a look at those is
# cheaper than the patterns. Beyond ASCII there are letters that only the pattern takes for ours (U+212A is a k).
_GREETING_STARTS = frozenset("hHdDpPqQ")
_THANKS_CHARS = 40
_TASK_CHARS = 30


@dataclass(slots=True)
class Turn:
    """The last user turn. `text` is what is classified, `chars` its length before clipping.

    `media` are the kinds of parts that are not text: image, audio, file, video.
    """

    text: str = ""
    chars: int = 0
    media: set[str] = field(default_factory=set)


def last_turn(body: Mapping[str, Any]) -> Turn:
    """The last turn in which the user said something; of a body without messages its prompt or input. Never raises."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        turn = Turn()
        _read(body.get("prompt", body.get("input")), turn)
        return turn
    last = messages[-1] if messages else None
    if type(last) is dict and last.get("role") == "user":
        content = last.get("content")
        if type(content) is str and (text := visible(content)):
            return Turn(text, len(content))  # what most requests are
    turn = Turn()
    for message in reversed(messages[-_MESSAGES_BACK:]):
        if isinstance(message, dict) and message.get("role") == "user":
            _read(message.get("content"), turn)
            if turn.text:
                break
    return turn


def _read(content: object, turn: Turn) -> None:
    if isinstance(content, str):
        turn.text, turn.chars = visible(content), len(content)
    elif isinstance(content, list):
        texts = [text for text in map(visible, _texts(content, turn)) if text]
        turn.text = clip("\n".join(texts))


def _texts(parts: Sequence[object], turn: Turn) -> Iterator[str]:
    half = _PARTS // 2
    for part in parts if len(parts) <= _PARTS else [*parts[:half], *parts[-half:]]:
        if isinstance(part, str):
            turn.chars += len(part)
            yield part
        elif isinstance(part, dict):
            text = part.get("text")
            if isinstance(text, str):
                turn.chars += len(text)
                yield text
            else:
                turn.media.add(_MEDIA.get(str(part.get("type")), "file"))


# Part types of OpenAI's chat and responses APIs and of Anthropic's messages.
_MEDIA: Mapping[str, str] = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "input_audio": "audio",
    "audio": "audio",
    "video_url": "video",
    "video": "video",
}


def visible(text: str) -> str:
    """`text` without blocks, quoted lines and courtesies, clipped. Where only quoted lines would be left, they stay."""
    if len(text) > HEAD_CHARS + TAIL_CHARS or "<" in text:
        head, position = _head(text)
        text = head + _tail(text, position) if position < len(text) else head
    if ">" in text and (text.startswith(">") or "\n>" in text):
        lines = [line for line in text.split("\n") if not line.startswith(">") or line.startswith(">>>")]
        text = "\n".join(lines).strip() or text
    return _without_courtesies(text.strip())


def _without_courtesies(text: str) -> str:
    """`text` without greeting and thanks, so that a polite request is judged like a curt one."""
    length = len(text)
    if length < _TASK_CHARS:
        return text
    start, end = 0, length
    if text[0] in _GREETING_STARTS and (greeting := _GREETING.match(text)):
        start = greeting.end()
    tail = text[-_THANKS_CHARS:].lower()
    if "thank" in tail or "please" in tail or "thx" in tail or "cheers" in tail or not tail.isascii():
        thanks = _THANKS.search(text, max(start, length - _THANKS_CHARS))
        end = thanks.start() if thanks else length
    return text[start:end] if end - start >= _TASK_CHARS else text


def clip(text: str) -> str:
    """The head and the tail, which hold the task far more often than the middle."""
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"


def _head(text: str) -> tuple[str, int]:
    """The first characters outside blocks, and where reading stopped."""
    whole = len(text) <= HEAD_CHARS + TAIL_CHARS
    wanted = HEAD_CHARS + TAIL_CHARS if whole else HEAD_CHARS
    pieces: list[str] = []
    position = 0
    for _ in range(_BLOCKS):
        opening = _OPENING.search(text, position, position + wanted)
        if opening is None:
            break
        closing = f"</{opening[1]}>"
        end = text.find(closing, opening.end(), opening.end() + _BLOCK_CHARS)
        if end < 0:
            break
        pieces.append(text[position : opening.start()])
        wanted -= opening.start() - position
        position = end + len(closing)
    pieces.append(text[position : position + wanted])
    return "".join(pieces), min(len(text), position + wanted)


def _tail(text: str, start: int) -> str:
    """The last characters outside blocks, none of them before `start`."""
    wanted = TAIL_CHARS
    pieces: list[str] = []
    position = len(text)
    for _ in range(_BLOCKS):
        closings = list(_CLOSING.finditer(text, max(start, position - wanted), position))
        if not closings:
            break
        closing = closings[-1]
        opening = text.rfind(f"<{closing[1]}", max(start, closing.start() - _BLOCK_CHARS), closing.start())
        if opening < 0:
            break
        pieces.append(text[closing.end() : position])
        wanted -= position - closing.end()
        position = opening
    pieces.append(text[max(start, position - wanted) : position])
    return "\n" + "".join(reversed(pieces))
