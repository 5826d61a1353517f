"""Graded requests as training reads them: JSON lines of {"prompt" | "messages", "scores": {model: 0..1}, "costs"?,
"latency_s"?, "application"?}.

Not every row has to grade every model; what is missing is NaN.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any
from zlib import crc32

import numpy as np
import orjson
from numpy.typing import NDArray

from routing.features import Features, extract

Floats = NDArray[np.float64]

# Labels that nobody gave: an answer's format was kept or not, a question was asked again.
WEAK_SHARE = 0.3
_NO_MEAN = 0.5


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
    """The examples of rows that are already checked.

    A weak label is a hint: it moves its model's score by `WEAK_SHARE` of the way from the mean of what was graded.
    """
    models = tuple(sorted({name for row in rows for name in row["scores"]}))
    features = [extract(_body(row)) for row in rows]
    return Examples(
        models,
        features,
        _without_haste(_matrix(rows, "scores", models), _weak(rows, models)),
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


def _weak(rows: Sequence[Mapping[str, Any]], models: Sequence[str]) -> NDArray[np.bool_]:
    nothing: Sequence[str] = ()
    return np.array([[name in (row.get("weak") or nothing) for name in models] for row in rows], np.bool_)


def _without_haste(scores: Floats, is_weak: NDArray[np.bool_]) -> Floats:
    for column in np.flatnonzero(is_weak.any(0)):
        own, weak = scores[:, column], is_weak[:, column]
        graded = own[~weak & ~np.isnan(own)]
        mean = graded.mean() if len(graded) else _NO_MEAN
        own[weak] = mean + WEAK_SHARE * (own[weak] - mean)
    return scores


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
    _check_numbers(row, wrong)
    for field in ("application", "request_id"):
        if not isinstance(row.get(field), str | None):
            raise wrong(f"'{field}' is not text")
    _check_weak(row.get("weak"), wrong)
    return row


def _check_numbers(row: Mapping[str, Any], wrong: Callable[[str], FeedbackError]) -> None:
    for field, most in (("scores", 1.0), ("costs", np.inf), ("latency_s", np.inf)):
        for name, value in _numbers(row.get(field), field, wrong):
            if not isfinite(value) or not 0.0 <= value <= most:
                raise wrong(
                    f"'{field}' of {name!r} is {value}, which is not {'from 0 to 1' if most == 1.0 else 'from 0 up'}"
                )


def _check_weak(weak: object, wrong: Callable[[str], FeedbackError]) -> None:
    if weak is not None and not (isinstance(weak, list) and all(isinstance(name, str) for name in weak)):
        raise wrong("'weak' is not a list of model names")


def _numbers(values: object, field: str, wrong: Any) -> Iterable[tuple[str, float]]:
    if values is None:
        return
    if not isinstance(values, dict):
        raise wrong(f"'{field}' is not an object of model names and numbers")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(f"'{field}' of {name!r} is not a number")
        yield name, float(value)
