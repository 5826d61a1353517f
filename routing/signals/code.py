"""Program text, and talk about programs."""

from routing.signals.view import View, words_of

NAMES = ("code_words", "code_talk", "code_symbols", "code_fences")
COUNTS = {"code_words": "code", "code_talk": "code_talk"}

LEXICON = {
    "code": words_of(
        "def elif lambda async await const var fn func struct enum impl println printf stdout stdin argv argc null "
        "nil none nullptr undefined boolean int str len typeof instanceof namespace void extends implements interface "
        "import namespace endif ifdef isinstance kwargs args self foreach println malloc sizeof varchar select insert "
        "bool true false assert raise except finally yield public private static float double tuple"
    ),
    "code_talk": words_of(
        "python javascript typescript java rust golang kotlin swift php ruby sql html css bash shell regex api json "
        "yaml xml http rest graphql docker kubernetes git github pandas numpy react django flask node npm pip linux "
        "function functions method class classes code script program compile compiler bug debug refactor unittest "
        "pytest variable variables array arrays list lists string strings loop recursion algorithm dictionary dict "
        "stack queue tree exception traceback stacktrace database query schema endpoint async thread deadlock mutex "
        "repository commit branch merge deploy backend frontend server client cache tuple substring integer integers"
    ),
    "symbol": frozenset("(){}[];=_#<>&|:"),  # what programs are full of and prose is not
}


def measure(view: View) -> tuple[float, ...]:
    """The share of symbols, fences up to 4."""
    return (view.hits.get("symbol", 0) / (len(view.words) or 1), min(view.text.count("```"), 4))
