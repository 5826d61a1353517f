"""What the answer has to look like: obligations, bounds, formats."""

from math import log1p

from routing.signals.view import View, words_of

NAMES = ("obligations", "formats")

LEXICON = {
    "obligation": words_of(
        "must exactly only always never ensure required require requires requirement requirements strictly avoid "
        "include including exclude without least most maximum minimum limit within between following above below "
        "given according based constraint constraints shall need needs"
    ),
    "format": words_of(
        "json csv xml yaml markdown table bullet bullets list headings heading format formatted words sentences "
        "sentence paragraph paragraphs essay letter email tone style schema template column columns rows boxed "
        "uppercase lowercase summary title characters"
    ),
}


def measure(view: View) -> tuple[float, ...]:
    """Logarithms of counts."""
    return (log1p(view.hits["obligation"]), log1p(view.hits["format"]))
