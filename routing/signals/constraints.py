"""What the answer has to look like: obligations, bounds, formats."""

from routing.signals.view import words_of

COUNTS = {"obligations": "obligation", "formats": "format"}
NAMES = tuple(COUNTS)

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
