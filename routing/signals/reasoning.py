"""Words that ask for thinking, and words that join thoughts."""

from routing.signals.view import words_of

COUNTS = {
    "demanding_words": "demanding",
    "reasoning_words": "reasoning",
    "connective_words": "connective",
    "hypothetical_words": "hypothetical",
    "negations": "negation",
}
NAMES = tuple(COUNTS)

LEXICON = {
    "demanding": words_of(
        "prove proof derive derivation architect architecture refactor optimize optimise debug diagnose investigate "
        "troubleshoot analyze analyse analysis critique synthesize synthesise tradeoff tradeoffs rigorous rigorously "
        "comprehensive thorough thoroughly nuanced implications rationale design migrate distributed concurrency "
        "scalable theorem formally strategy strategic simulate hypothesis algorithm implement"
    ),
    "reasoning": words_of(
        "prove proof derive derivation deduce infer explain explanation analyze analyse analysis evaluate assess "
        "compare contrast critique justify reason reasoning why argue argument debate discuss implications rationale "
        "tradeoff tradeoffs optimal optimize optimise design architect architecture strategy strategic plan diagnose "
        "investigate troubleshoot hypothesis theory model simulate predict estimate interpret synthesize synthesise "
        "demonstrate verify validate comprehensive thorough thoroughly detailed rigorous rigorously carefully step "
        "steps logic logical puzzle clue clues complex complexity nuanced multi"
    ),
    "connective": words_of(
        "because therefore thus hence however although though whereas while unless until since so then but if whether "
        "either neither also otherwise instead consequently moreover furthermore"
    ),
    "hypothetical": words_of("if suppose assume assuming would could might may should given let consider imagine case"),
    "negation": words_of("not no never none neither nor cannot except without false incorrect unlike nothing t"),
}
