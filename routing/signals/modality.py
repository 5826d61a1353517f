"""What the last turn consists of besides text."""

from enum import StrEnum

from routing.signals.view import View


class Modality(StrEnum):
    """A closed set; with several kinds of parts the first in this order counts."""

    VIDEO = "video"
    AUDIO = "audio"
    IMAGE = "image"
    FILE = "file"
    TEXT = "text"


NAMES = ("is_multimodal",)


def measure(view: View) -> tuple[float, ...]:
    """Whether there is anything besides text."""
    return (float(bool(view.turn.media)),)


def label(view: View) -> Modality:
    """The rarest kind of part in the last turn."""
    if not view.turn.media:
        return Modality.TEXT
    return next((kind for kind in Modality if kind.value in view.turn.media), Modality.TEXT)
