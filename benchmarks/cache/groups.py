"""Pairs made of the prompts in `groups.toml`: several wordings of a question, its neighbours, other values."""

import random
import tomllib
from itertools import combinations
from pathlib import Path
from typing import Any

_EACH = 60  # pairs of a group and kind, at most
_GREETINGS = ("", "", "", "Hi! ", "Please: ", "Hey, ", "Quick question: ")
_CLOSINGS = ("", "", "", " thanks", " please", "?", "!")


def made_pairs(seed: int = 11) -> list[dict[str, Any]]:
    """Rows like those of the labelled pairs; the same on every run."""
    draw = random.Random(seed)
    groups = tomllib.loads(Path(__file__).with_name("groups.toml").read_text("utf-8"))
    rows = []
    for name, group in groups.items():
        rows += _of_group(name, group, draw)
    return rows + _strangers(rows, draw)


def _of_group(name: str, group: dict[str, Any], draw: random.Random) -> list[dict[str, Any]]:
    values = [tuple(value) if isinstance(value, list) else (value,) for value in group.get("values", [""])]
    asks: list[list[str]] = group["asks"]
    found: dict[str, list[tuple[str, str, int]]] = {"form": [], "sibling": [], "slot": [], "surface": []}
    for value in values:
        for forms in asks:
            said = [_filled(form, value) for form in forms]
            found["form"] += [(a, b, 1) for a, b in combinations(said, 2)]
            found["surface"] += [(text, _roughened(text, draw), 1) for text in said]
        for ours, theirs in combinations(asks, 2):
            for place in range(max(len(ours), len(theirs))):
                left, right = ours[place % len(ours)], theirs[place % len(theirs)]
                found["sibling"].append((_filled(left, value), _filled(right, value), 0))
    for one, other in combinations(values, 2):
        for forms in asks:
            form = draw.choice(forms)
            found["slot"].append((_filled(form, one), _filled(form, other), 0))
    rows = []
    for kind, pairs in found.items():
        for a, b, label in draw.sample(pairs, min(_EACH, len(pairs))):
            ours, theirs = (a, b) if draw.random() < 0.5 else (b, a)
            rows.append({"a": _greeted(ours, draw), "b": _greeted(theirs, draw), "label": label, "kind": kind})
    return [{**row, "grp": f"made_{name}", "src": "made"} for row in rows]


def _strangers(rows: list[dict[str, Any]], draw: random.Random) -> list[dict[str, Any]]:
    """Pairs of different groups, in the group of the first."""
    found = []
    for _ in range(len(rows) // 3):
        one, other = draw.choice(rows), draw.choice(rows)
        if one["grp"] != other["grp"]:
            found.append({**one, "b": other["b"], "label": 0, "kind": "random"})
    return found


def _filled(form: str, value: tuple[str, ...]) -> str:
    text = form
    for place, part in enumerate(value):
        text = text.replace("{" + str(place) + "}", part)
    return text


def _greeted(text: str, draw: random.Random) -> str:
    return draw.choice(_GREETINGS) + text + draw.choice(_CLOSINGS)


def _roughened(text: str, draw: random.Random) -> str:
    """The same in other case, with letters exchanged in a long word, or a word less."""
    way = draw.randrange(4)
    if way == 0:
        return text.lower()
    words = text.split()
    long = [place for place, word in enumerate(words) if len(word) > 5 and word.isalpha() and word.islower()]
    if way == 1 and long:
        place = draw.choice(long)
        word = words[place]
        cut = draw.randrange(1, len(word) - 2)
        words[place] = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    elif way == 2:
        words = [word for word in words if word not in ("the", "a", "an")]
    else:
        words.append(draw.choice(["exactly", "thanks"]) if way == 3 and not words[-1].endswith("?") else "")
    return " ".join(words).strip()
