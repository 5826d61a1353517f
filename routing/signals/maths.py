"""Numbers, formulas and the words around them."""

from math import log1p

from routing.signals.view import View, words_of

NAMES = (
    "maths_words",
    "quantity_words",
    "numbers",
    "number_share",
    "distinct_numbers",
    "longest_number",
    "operators",
    "latex",
    "decimals",
    "money",
    "percents",
    "prices",
    "fraction_words",
    "comparison_words",
)
COUNTS = {
    "maths_words": "maths",
    "quantity_words": "quantity",
    "operators": "operator",
    "latex": "backslash",
    "money": "money",
    "percents": "percent",
    "fraction_words": "fraction",
    "comparison_words": "comparison",
}

LEXICON = {
    "maths": words_of(
        "integral derivative equation equations polynomial matrix matrices vector vectors eigenvalue theorem lemma "
        "proof prime modulo divisible divisor factor factors gcd lcm triangle circle radius angle angles perimeter "
        "hypotenuse parallelogram polygon probability random expected variance median mean deviation distribution "
        "logarithm exponent sqrt root roots sum product fraction integer integers rational irrational real complex "
        "coefficient coefficients quadratic linear cubic algebra geometry calculus trigonometry sine cosine tangent "
        "sin cos tan log ln frac cdot pi theta alpha infinity limit converge series sequence arithmetic geometric set "
        "subset union intersection permutation permutations combination combinations binomial function domain range "
        "inverse group ring field homomorphism isomorphism abelian cyclic subgroup topology manifold bijection "
        "injective surjective digit digits graph vertex vertices inequality perpendicular solve simplify evaluate "
        "compute"
    ),
    "quantity": words_of(
        "many much total each every per twice half third quarter double triple percent percentage times more less "
        "fewer least most cost costs price dollars dollar cents hours hour minutes minute days day weeks week months "
        "month years year miles mile feet inches meters pounds pound ounces gallons left remaining altogether average "
        "rate speed sold bought buys sells earns earn spend spends spent pay pays paid profit discount share equally "
        "age old older younger dozen number amount"
    ),
    "fraction": words_of(
        "half halves third thirds quarter quarters fourth fourths fifth fifths sixth seventh eighth ninth tenth twice "
        "thrice double doubled doubles triple tripled triples times"
    ),
    "comparison": words_of("more less fewer than older younger longer shorter taller faster slower bigger smaller"),
    "operator": frozenset("+*/^=%√"),
    "backslash": frozenset("\\"),
    "formula": frozenset("\\$="),
    "money": frozenset("$€£"),
    "percent": frozenset("%"),
}


def measure(view: View) -> tuple[float, ...]:
    """Logarithms of counts; the share of words that are numbers; the digits of the longest, up to 12."""
    numbers = view.numbers
    if not numbers:
        return _NO_NUMBERS
    words = view.words
    points = _decimals(words)
    return (
        log1p(len(numbers)),
        len(numbers) / len(words),
        log1p(len(set(numbers))),
        min(max(map(len, numbers)), 12),
        log1p(points),
        log1p(min(points, view.hits.get("money", 0))),
    )


_NO_NUMBERS = (0.0, 0.0, 0.0, 0, 0.0, 0.0)


def _decimals(words: list[str]) -> int:
    """Numbers, a point, numbers."""
    found, at, last = 0, 0, len(words) - 1
    for _ in range(words.count(".")):
        at = words.index(".", at) + 1
        found += 1 < at <= last and words[at - 2].isdecimal() and words[at].isdecimal()
    return found
