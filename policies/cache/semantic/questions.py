"""What kind of question a text is, in which tense, about whom, and whether its answer is of this moment."""

from itertools import pairwise

_AUXILIARIES = frozenset(
    """
    is are am was were do does did has have had can could will would shall should may might must
    """.split()  # noqa: SIM905
)
_DEGREES = frozenset(
    """
    far old big tall high deep fast heavy wide large small hot cold expensive strong thick soon late early close
    dangerous hard good bad short slow
    """.split()  # noqa: SIM905
)
_HARD = frozenset(["why", "when", "where", "who", "amount", "often", "degree", "how"])
# A quantity of time, and a point in time; a place in a program and the way there: asked for alike.
_ALIKE = frozenset([frozenset(["how", "where"]), frozenset(["how", "degree"])])
_NOUNS = {
    "time": "when", "date": "when", "day": "when", "year": "when", "reason": "why", "cause": "why", "place": "where",
    "location": "where", "person": "who", "price": "amount", "amount": "amount", "number": "amount", "cost": "amount",
    "population": "amount",
}  # fmt: skip
_SUBJECTS = frozenset(["i", "you", "we", "they", "he", "she", "it", "the", "my", "your", "a", "an", "there"])
_TENSES = {
    "was": "past", "were": "past", "did": "past", "had": "past", "is": "present", "are": "present", "am": "present",
    "do": "present", "does": "present", "has": "present", "have": "present", "will": "future", "shall": "future",
}  # fmt: skip
_TIMELY = frozenset(
    """
    now today tonight yesterday tomorrow latest newest current currently recent recently nowadays ongoing live breaking
    upcoming presently lately weather forecast
    """.split()  # noqa: SIM905
)
_TIMELY_AFTER = {
    "this": frozenset(["week", "month", "year", "morning", "afternoon", "evening", "weekend", "quarter", "season"]),
    "next": frozenset(["week", "month", "year", "weekend", "quarter", "flight", "train", "bus", "game", "match"]),
    "last": frozenset(["week", "month", "year", "night", "weekend", "quarter", "game", "match"]),
    "right": frozenset(["now"]),
    "at": frozenset(["present"]),
    "so": frozenset(["far"]),
    "as": frozenset(["of"]),
    "up": frozenset(["to"]),
}
_BEFORE = frozenset([*_TIMELY_AFTER, "moment"])
_OWN = frozenset(
    """
    account balance order payment card transfer transaction statement invoice bill refund subscription delivery package
    parcel salary payroll pto vacation leave loan mortgage credit score limit bonus points reward appointment booking
    reservation flight ticket password pin username profile address email phone number policy claim contract
    prescription schedule calendar meeting reminder list cart wishlist history deposit top_up money cash bank
    application status
    plan insurance tax name age birthday location
    """.split()  # noqa: SIM905
)
_MINE = frozenset(["my", "mine", "our", "ours"])
_ME = frozenset(["i", "me", "we", "us"])
_THIRD = frozenset(["his", "her", "their", "he", "she", "they", "him", "them"])


def question(words: list[str], has_how: bool) -> str:
    """The class of the first question word; "yesno" for one without, nothing where nothing is asked."""
    if words[1:3] == ["is", "true"]:  # "Which is true: is it late?"
        words = words[3:]
    for place, word in enumerate(words):
        after = words[place + 1] if place + 1 < len(words) else ""
        if word in ("why", "where"):
            return "how" if has_how and word == "where" else word
        if word == "when" and after not in _SUBJECTS:
            return word
        if word in ("who", "whom", "whose"):
            return "who"
        if word == "how":
            return _how(after)
        if word in ("what", "which"):
            return _what(words, place)
    if has_how:
        return "how"
    return "yesno" if words and words[0] in _AUXILIARIES else ""


def _how(after: str) -> str:
    if after in ("much", "many"):
        return "amount"
    if after == "long":
        return "duration"
    if after == "come":
        return "why"
    return "often" if after in ("often", "frequent", "frequently") else "degree" if after in _DEGREES else "how"


def _what(words: list[str], place: int) -> str:
    for word in words[place + 1 : place + 4]:
        if word in _NOUNS:
            return _NOUNS[word]
        if word in ("way", "step", "procedure", "process", "method"):
            return "how"
    return words[place]


def are_different(one: str, other: str) -> bool:
    """Whether no answer to a question of one class is an answer to one of the other."""
    return one != other and one in _HARD and other in _HARD and frozenset((one, other)) not in _ALIKE


def tense(words: list[str]) -> str:
    """Of the first verb that tells."""
    for word in words:
        if word in _TENSES:
            return _TENSES[word]
    return ""


def is_timely(words: list[str]) -> bool:
    """Whether the answer may be another one in an hour or a day."""
    said = set(words)
    if not _TIMELY.isdisjoint(said):
        return True
    if _BEFORE.isdisjoint(said):
        return False
    return any(after in _TIMELY_AFTER.get(word, ()) for word, after in pairwise(words)) or "at the moment" in " ".join(
        words
    )


def is_personal(words: list[str], kind: str) -> bool:
    """Whether it asks for something of the caller's own: an account, an order, what happened to them.

    How something is done is the same for everybody.
    """
    if kind == "how":
        return False
    if any(word in _MINE and not _OWN.isdisjoint(words[place + 1 : place + 4]) for place, word in enumerate(words)):
        return True
    # "did I", "have I", "am I", "why was I"
    return any(
        word in ("i", "we") and before in ("did", "have", "am", "was", "were", "had", "do")
        for before, word in pairwise(words)
    ) and ("have" in words or "do" not in words)


def degree(spoken: list[str], words: list[str]) -> str:
    """Whether something is compared with one other, or with all."""
    for said, word in zip(spoken, words, strict=False):
        if said in ("most", "least") or (said.endswith("est") and _is_made_of(said[:-3], word)):
            return "most"
        if said in ("more", "less") or (said.endswith("er") and _is_made_of(said[:-2], word)):
            return "more"
    return ""


def _is_made_of(stem: str, word: str) -> bool:
    """Whether a stem without its ending is a word: "fast", "bigg", "easi", "larg"; letters may have changed places."""
    letters = sorted(stem)
    return any(letters == sorted(form) for form in (word, word + word[-1:], word[:-1] + "i", word[:-1]))


def persons(words: list[str]) -> int:
    """Whose it is, as bits: the speaker's, the listener's, somebody else's."""
    said = set(words)
    return (
        (1 if not said.isdisjoint(_MINE) or not said.isdisjoint(_ME) else 0)
        | (2 if not said.isdisjoint(("your", "yours", "yourself")) else 0)
        | (4 if not said.isdisjoint(_THIRD) else 0)
    )
