"""What kind of work is asked for."""

from enum import StrEnum

from routing.signals import code, maths, structure
from routing.signals.tool_stage import ToolStage
from routing.signals.view import View, words_of


class TaskType(StrEnum):
    """A closed set, also a label of metrics."""

    CODE = "code"
    MATHS = "maths"
    EXTRACTION = "extraction"
    WRITING = "writing"
    ANALYSIS = "analysis"
    FACTUAL = "factual"
    SMALL_TALK = "small_talk"
    AGENTIC = "agentic"


NAMES = tuple(f"is_{kind.value}" for kind in TaskType)

LEXICON = {
    "extraction": words_of(
        "extract classify classification categorize label tag parse translate summarize summarise summary convert "
        "identify list entities sentiment json csv fields keywords transcribe rewrite paraphrase correct format"
    ),
    "writing": words_of(
        "write draft compose essay story poem blog article email letter speech script lyrics slogan caption haiku "
        "creative fiction character plot rewrite tone paragraph tweet post headline"
    ),
    "factual": words_of("who when where which what whose name capital country year born wrote invented founded won"),
    "small_talk": words_of(
        "hi hello hey thanks thank bye goodbye morning evening night cheers lol haha ok okay yes yeah sure cool great "
        "nice welcome please how are you doing today what s up"
    ),
    "greeting": words_of(
        "hi hello hey thanks thank bye goodbye cheers lol haha yo hallo hola bonjour ciao danke merci"
    ),
}

_SMALL_TALK_WORDS = 12


_ONE_HOT = {kind.value: tuple(float(kind is other) for other in TaskType) for kind in TaskType}


def measure(view: View) -> tuple[float, ...]:
    """One of the kinds is 1."""
    return _ONE_HOT[view.task_type]


def label(view: View) -> TaskType:
    """The kind with the most evidence; `factual` where there is none, as most short prompts are questions."""
    if view.tool_stage in (ToolStage.CALLED, ToolStage.RESULT):
        return TaskType.AGENTIC
    hits = view.hits
    words = len(view.words)
    if words <= _SMALL_TALK_WORDS and hits.get("greeting", 0) and hits.get("small_talk", 0) * 3 >= words:
        return TaskType.SMALL_TALK
    evidence = (
        (_code(view), TaskType.CODE),
        (_maths(view), TaskType.MATHS),
        (2.0 * hits.get("extraction", 0), TaskType.EXTRACTION),
        (2.0 * hits.get("writing", 0), TaskType.WRITING),
        (1.5 * hits.get("reasoning", 0), TaskType.ANALYSIS),
        (1.0 + 0.5 * hits.get("factual", 0) + 0.5 * structure.choices(view), TaskType.FACTUAL),
    )
    return max(evidence)[1]


def _code(view: View) -> float:
    share = code.symbols(view) / (len(view.words) or 1)
    return 2.0 * view.hits.get("code", 0) + 1.2 * view.hits.get("code_talk", 0) + (4.0 if share > 0.15 else 0.0)


def _maths(view: View) -> float:
    numbers = sum(map(str.isdecimal, view.words))
    count = view.counts.get
    formulas = count("\\", 0) + count("$", 0) + count("=", 0)
    return 1.2 * view.hits.get(_MATHS, 0) + 0.4 * view.hits.get(_QUANTITY, 0) + 0.4 * numbers + 0.5 * formulas


_MATHS, _QUANTITY, *_ = maths.LEXICON
