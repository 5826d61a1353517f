"""Which kept answers are to be forgotten."""

from dataclasses import dataclass
from typing import Any

from policies.cache.shelf import Entry, Shelf


@dataclass(slots=True, frozen=True)
class Purge:
    """All conditions that are set have to hold; with none, every answer goes.

    `entry` is the id that the head of a hit names, `partition` who may share them, `name` the model or route that was
    asked for, or the one that was decided for instead, `tag` one of the tags of the request or its key, `caller` the
    name of the key that they were made for: what others of its group made stays.
    """

    entry: str | None = None
    partition: str | None = None
    name: str | None = None
    tag: str | None = None
    caller: str | None = None

    def takes(self, entry: Entry) -> bool:
        """Whether it is one of those."""
        return (
            self.entry in (None, entry.id)
            and self.partition in (None, entry.partition)
            and self.name in (None, entry.asked, entry.name)
            and self.caller in (None, entry.caller)
            and (self.tag is None or self.tag in entry.tags)
        )

    def carry_out(self, shelf: Shelf) -> int:
        """Forget them. Returns how many there were. What is under way now will not be kept."""
        shelf.epoch += 1
        return sum(shelf.drop(entry.key) for entry in shelf if self.takes(entry))

    def to_json(self) -> dict[str, Any]:
        """As `Purge(**...)` takes it."""
        told = {"entry": self.entry, "partition": self.partition, "name": self.name, "tag": self.tag}
        return told if self.caller is None else told | {"caller": self.caller}
