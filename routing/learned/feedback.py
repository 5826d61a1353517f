"""Graded requests as training reads them: JSON lines of {"prompt" | "messages", "scores": {model: 0..1}, "costs"?,
"latency_s"?, "application"?}.

Not every row has to grade every model; what is missing is NaN.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any
from zlib import crc32

import numpy as np
import orjson
from numpy.typing import NDArray

from routing.features import Features, extract

Floats = NDArray[np.float64]


class FeedbackError(Exception):
    """A line cannot be used; the text names the line, says what is wrong and what it should hold."""


@dataclass(slots=True)
class Examples:
    """N graded requests for M models. `scores`, `costs` and `latencies_s` are [N, M]; `keys` [N] hash the words.

    The same words have the same key, so rows that say the same can be kept on one side of a split.
    """

    models: tuple[str, ...]
    features: list[Features]
    scores: Floats
    costs: Floats
    latencies_s: Floats
    applications: list[str | None]
    keys: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.features)

    def subset(self, rows: NDArray[np.intp]) -> "Examples":
        """Some of the rows, in the given order."""
        return Examples(
            self.models,
            [self.features[row] for row in rows],
            self.scores[rows],
            self.costs[rows],
            self.latencies_s[rows],
            [self.applications[row] for row in rows],
            self.keys[rows],
        )


def parse(lines: Iterable[bytes]) -> Examples:
    """The examples of a file's lines; empty lines are skipped. Raises FeedbackError.

    Of several lines with the same `request_id` the last one counts: that is how a gateway corrects a score.
    """
    rows: dict[object, Mapping[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            row = _row(number, line)
            rows[row.get("request_id") or number] = row
    if not rows:
        raise FeedbackError('there are no rows; each line is {"prompt": ..., "scores": {model: 0..1}}')
    return assemble(list(rows.values()))


def assemble(rows: Sequence[Mapping[str, Any]]) -> Examples:
    """The examples of rows that are already checked."""
    models = tuple(sorted({name for row in rows for name in row["scores"]}))
    features = [extract(_body(row)) for row in rows]
    return Examples(
        models,
        features,
        _matrix(rows, "scores", models),
        _matrix(rows, "costs", models),
        _matrix(rows, "latency_s", models),
        [row.get("application") for row in rows],
        np.array([crc32(" ".join(found.words).encode("utf-8", "replace")) for found in features], np.uint32),
    )


def _body(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return row if "messages" in row else {"prompt": row["prompt"]}


def _matrix(rows: Sequence[Mapping[str, Any]], field: str, models: Sequence[str]) -> Floats:
    nothing: Mapping[str, float] = {}
    return np.array([[(row.get(field) or nothing).get(name, np.nan) for name in models] for row in rows], np.float64)


def _row(number: int, line: bytes) -> Mapping[str, Any]:
    def wrong(what: str) -> FeedbackError:
        return FeedbackError(f"line {number}: {what}")

    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise wrong(f"it is not JSON ({error})") from None
    if not isinstance(row, dict):
        raise wrong("it is not a JSON object")
    if not isinstance(row.get("messages"), list) and not isinstance(row.get("prompt"), str):
        raise wrong("it needs 'prompt' (text) or 'messages' (a list)")
    if not isinstance(row.get("scores"), dict) or not row["scores"]:
        raise wrong("it needs 'scores', an object of model names and numbers from 0 to 1")
    for field, most in (("scores", 1.0), ("costs", np.inf), ("latency_s", np.inf)):
        for name, value in _numbers(row.get(field), field, wrong):
            if not isfinite(value) or not 0.0 <= value <= most:
                raise wrong(
                    f"'{field}' of {name!r} is {value}, which is not {'from 0 to 1' if most == 1.0 else 'from 0 up'}"
                )
    if not isinstance(row.get("application"), str | None):
        raise wrong("'application' is not text")
    if not isinstance(row.get("request_id"), str | None):
        raise wrong("'request_id' is not text")
    return row


def _numbers(values: object, field: str, wrong: Any) -> Iterable[tuple[str, float]]:
    if values is None:
        return
    if not isinstance(values, dict):
        raise wrong(f"'{field}' is not an object of model names and numbers")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(f"'{field}' of {name!r} is not a number")
        yield name, float(value)
