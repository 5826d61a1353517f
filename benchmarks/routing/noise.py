"""The same request as somebody else would type it: slips of the finger, capitals, blanks."""

from random import Random


def with_typos(text: str, rng: Random, share: float = 0.03) -> str:
    """Two neighbouring letters are exchanged in this share of the words of four letters and more."""
    words = text.split(" ")
    for at, word in enumerate(words):
        if len(word) >= 4 and word.isalpha() and rng.random() < share:
            place = rng.randrange(1, len(word) - 2)
            words[at] = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return " ".join(words)


def in_other_case(text: str, rng: Random) -> str:
    """All small or all capital letters."""
    return text.lower() if rng.random() < 0.5 else text.upper()


def with_blanks(text: str, rng: Random) -> str:
    """Doubled and surrounding blanks."""
    return " " + "".join(c + " " if c == " " and rng.random() < 0.2 else c for c in text) + "\n"


def with_politeness(text: str, rng: Random) -> str:
    """A few words that change nothing about the task."""
    return rng.choice(("Please help: ", "Hi! ", "Question: ")) + text + rng.choice(("", " Thanks!", "\nThank you."))


KINDS = {"typos": with_typos, "case": in_other_case, "blanks": with_blanks, "politeness": with_politeness}
