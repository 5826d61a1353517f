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
    """Logarithms of counts; the share of words that are numbers."""
    hits, words, numbers = view.hits, view.words, view.numbers
    count = distinct = longest = points = 0
    if numbers:
        count, distinct = len(numbers), len(set(numbers))
        longest = min(max(map(len, numbers)), 12)
        points = _decimals(words)
    money = hits["money"]
    return (
        log1p(hits["maths"]),
        log1p(hits["quantity"]),
        log1p(count),
        count / (len(words) or 1),
        log1p(distinct),
        longest,
        log1p(hits["operator"]),
        log1p(hits["backslash"]),
        log1p(points),
        log1p(money),
        log1p(hits["percent"]),
        log1p(min(points, money)),
        log1p(hits["fraction"]),
        log1p(hits["comparison"]),
    )


def _decimals(words: list[str]) -> int:
    points = [at for at, word in enumerate(words) if word == "."]
    return sum(words[at - 1].isdecimal() and words[at + 1].isdecimal() for at in points if 0 < at < len(words) - 1)
