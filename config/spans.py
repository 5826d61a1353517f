"""Spans of time as people write them: `90s`, `30m`, `24h`, `7d`, `2w`."""

import re

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")


def span_s(text: str, units: str = "smhd") -> float | None:
    """Seconds of a span in one of `units`, None where the text is none."""
    found = _SPAN.fullmatch(text)
    return None if found is None or found[2] not in units else float(int(found[1]) * _SECONDS[found[2]])
