"""The ledger: one line for every upstream call that may cost something, so that each cent has its reason.

What kept answers saved is in it as well: not every hit by itself, but those alike of a few seconds in one line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from providers.base import Usage


class Purpose(StrEnum):
    """Why a call was made."""

    ANSWER = "answer"  # the caller's request: the first call, and whoever was asked instead of it
    RETRY = "retry"  # the same deployment once more
    HEDGE = "hedge"  # beside a slow one
    CONTINUATION = "continuation"  # of an answer that broke
    MIRROR = "mirror"  # a copy for comparison
    JUDGE = "judge"  # a score for an answer
    EMBEDDING = "embedding"  # for the gateway's own use
    KEPT = "kept"  # no call: requests that were answered with what others had paid for


@dataclass(slots=True)  # not frozen: making one would take five times as long
class Entry:
    """One upstream call, or a line of savings; nobody changes one. `id` is unique: an entry that is written twice
    counts once. `at_s` is Unix time at its end.

    `cost_nusd` is by our prices, None where there is none; `reported_nusd` what the provider says it charged.
    `is_estimated`: the provider told no usage. `is_flagged`: charged in full because nobody saw its end. `saved_calls`
    is None but for savings: so many requests made no call, and the answers that they got had cost `saved_nusd`.
    """

    id: str
    request_id: str
    at_s: float
    key: str
    team: str | None
    tags: tuple[str, ...]
    asked: str  # the name the caller asked for
    route: str | None
    model: str  # public name of the model that was called
    deployment: str
    provider: str
    operation: str
    purpose: Purpose
    ending: str
    usage: Usage | None
    cost_nusd: int | None
    reported_nusd: int | None = None
    is_estimated: bool = False
    is_flagged: bool = False
    saved_nusd: int | None = None
    saved_calls: int | None = None

    def row(self) -> dict[str, Any]:
        """Flat, of JSON types; classes of tokens that were not used are left out, and savings where there are none."""
        row = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("usage", "tags")}
        if self.saved_calls is None:
            del row["saved_calls"], row["saved_nusd"]
        row["tags"] = list(self.tags)
        if self.usage is not None:
            for token_class in fields(self.usage):
                count = getattr(self.usage, token_class.name)
                if count and token_class.name not in row:
                    row[token_class.name] = count
        return row


def entry_of(data: Mapping[str, Any]) -> Entry:
    """An entry as a journal has it: every field by its name, in JSON types."""
    usage = data["usage"]
    made = {"tags": tuple(data["tags"]), "purpose": Purpose(data["purpose"])}
    return Entry(**{**data, **made, "usage": None if usage is None else Usage(**usage)})
