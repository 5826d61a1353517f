"""What kind of work is asked for."""

from enum import StrEnum

from routing.signals.tool_stage import AT_WORK
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

# To look into an enumeration takes ten times as long as a name of the module.
_CODE, _MATHS, _EXTRACTION, _WRITING, _ANALYSIS, _FACTUAL, _SMALL_TALK, _AGENTIC = TaskType

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
_MANY_SYMBOLS = 0.15  # of all words

_ONE_HOT = {kind.value: tuple(float(kind is other) for other in TaskType) for kind in TaskType}


def measure(view: View) -> tuple[float, ...]:
    """One of the kinds is 1."""
    return _ONE_HOT[view.task_type]


def label(view: View) -> TaskType:
    """The kind with the most evidence; `factual` where there is none, as most short prompts are questions."""
    if view.tool_stage in AT_WORK:
        return _AGENTIC
    hits, words = view.hits, len(view.words)
    if words <= _SMALL_TALK_WORDS and "greeting" in hits and hits.get("small_talk", 0) * 3 >= words:
        return _SMALL_TALK
    # Most texts have words of few classes: to ask whether there are any costs a third of asking how many.
    code = 2.0 * hits["code"] if "code" in hits else 0.0
    code += 1.2 * hits["code_talk"] if "code_talk" in hits else 0.0
    if "symbol" in hits and hits["symbol"] / words > _MANY_SYMBOLS:
        code += 4.0
    maths = 1.2 * hits["maths"] if "maths" in hits else 0.0
    maths += 0.4 * hits["quantity"] if "quantity" in hits else 0.0
    maths += 0.4 * len(view.numbers)
    maths += 0.5 * hits["formula"] if "formula" in hits else 0.0
    # In the order of their names, because of two with equal evidence the later name counts.
    most, kind = 1.5 * hits["reasoning"] if "reasoning" in hits else 0.0, _ANALYSIS
    if code >= most:
        most, kind = code, _CODE
    if "extraction" in hits and (extraction := 2.0 * hits["extraction"]) >= most:
        most, kind = extraction, _EXTRACTION
    factual = 1.0 + 0.5 * hits["factual"] if "factual" in hits else 1.0
    factual += 0.5 * view.choices
    if factual >= most:
        most, kind = factual, _FACTUAL
    if maths >= most:
        most, kind = maths, _MATHS
    return _WRITING if "writing" in hits and 2.0 * hits["writing"] >= most else kind
