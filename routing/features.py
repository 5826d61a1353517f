"""From a request body to the numbers and labels that routing decides by. Pure, and bounded whatever a caller sends.

Every module of `routing.signals` that has `NAMES` contributes; a new signal is a new file there. What it lists in
`COUNTS` is the logarithm of how many words belong to a class of its `LEXICON`; `measure` gives its other features, in
the order of `NAMES`. `ALONE` may have what gives one of them without the others, as a tuple of one.
"""

import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import repeat
from math import log1p
from operator import itemgetter
from types import ModuleType
from typing import Any

import routing.signals
from routing.signals import depth, language, length, modality, structure, task_type, tool_stage
from routing.signals.modality import Modality
from routing.signals.task_type import TaskType
from routing.signals.tool_stage import ToolStage
from routing.signals.turn import last_turn
from routing.signals.view import Index, View, look

_ZEROS = repeat(0)


@dataclass(slots=True)
class Features:
    """What a request is like; what costs time is worked out when somebody asks for it.

    `words` are the lower-case words of the text. `tokens` estimates the last user turn, not the whole request.
    """

    view: View
    words: list[str]
    tokens: int
    task_type: TaskType
    tool_stage: ToolStage
    _values: tuple[float, ...] | None = None

    @property
    def values(self) -> tuple[float, ...]:
        """The signals' numbers, in the order of `NAMES`."""
        if self._values is None:
            self._values = _read_all(self.view)
        return self._values

    @property
    def messages(self) -> int:
        """Messages in the conversation."""
        return depth.messages(self.view)

    @property
    def language(self) -> str:
        """ISO 639-1."""
        return language.label(self.view)

    @property
    def modality(self) -> Modality:
        """What the turn has besides text."""
        return modality.label(self.view)


def extract(body: Mapping[str, Any]) -> Features:
    """Features of a chat, completion or responses body. Never raises, whatever the body holds.

    30 us at 450 characters with all values, at most some 150 us for any body.
    """
    view = look(body, last_turn(body), _INDEX)
    view.choices = structure.choices(view)
    view.tool_stage = stage = tool_stage.label(view)
    view.tokens = tokens = length.tokens(view)
    view.task_type = kind = task_type.label(view)
    return Features(view, view.words, tokens, kind, stage)


def extract_text(text: str) -> Features:
    """Features of a single user message."""
    return extract({"messages": [{"role": "user", "content": text}]})


def reader(names: Sequence[str]) -> Callable[[View], tuple[float, ...]]:
    """What reads these features, in this order; no signal is asked that has none of them."""
    counted = [name for name in names if name in COUNTS]
    measured: list[str] = []
    measures: list[Callable[[View], tuple[float, ...]]] = []
    for module in _MODULES:
        offered, alone = _measured(module), getattr(module, "ALONE", {})
        wanted = [name for name in offered if name in names]
        if len(wanted) == 1 and wanted[0] in alone:
            measured += wanted
            measures.append(alone[wanted[0]])
        elif wanted:
            measured += offered
            measures.append(module.measure)
    found = [*counted, *measured]
    classes = [COUNTS[name] for name in counted]
    in_order = _picker([found.index(name) for name in names])

    def read(view: View) -> tuple[float, ...]:
        values = [*map(log1p, map(view.hits.get, classes, _ZEROS))]
        for measure in measures:
            values += measure(view)
        return in_order(values)

    return read


def _picker(keys: Sequence[int]) -> Callable[[Any], tuple[Any, ...]]:
    """`itemgetter` gives no tuple for less than two."""
    return itemgetter(*keys) if len(keys) > 1 else lambda values: tuple([values[key] for key in keys])


def _measured(module: ModuleType) -> Iterable[str]:
    return [name for name in module.NAMES if name not in COUNTS]


def _signals() -> list[ModuleType]:
    modules = [
        import_module(f"{routing.signals.__name__}.{info.name}")
        for info in pkgutil.iter_modules(routing.signals.__path__)
    ]
    return [module for module in modules if hasattr(module, "NAMES")]


_MODULES = _signals()
NAMES: tuple[str, ...] = tuple(name for module in _MODULES for name in module.NAMES)
# Features that are the logarithm of a count, and the word class that they count.
COUNTS: Mapping[str, str] = {
    name: words for module in _MODULES for name, words in getattr(module, "COUNTS", {}).items()
}
_INDEX = Index({name: words for module in _MODULES for name, words in getattr(module, "LEXICON", {}).items()})
_read_all = reader(NAMES)
