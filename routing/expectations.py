"""How long answers are expected to be, from those seen: per application and model, else per model."""

from collections import OrderedDict

from routing.ask import USUAL_OUTPUT_TOKENS

_KEPT = 4_096
# An answer moves the mean by this share; the first few move it more, so that it starts from what was seen.
_SHARE = 0.05
_FEW = 20  # 1 / _SHARE
_NONE = (0.0, 0)


class OutputBook:
    """Mean output tokens of recent answers. Bounded; the pairs that were not seen for longest are forgotten."""

    def __init__(self) -> None:
        self._means: OrderedDict[tuple[str | None, str], tuple[float, int]] = OrderedDict()

    def note(self, application: str, model: str, tokens: int) -> None:
        """A complete answer of `tokens` output tokens."""
        means = self._means
        for key in ((application, model), (None, model)):
            mean, seen = means.get(key, _NONE)
            seen += 1
            means[key] = (mean + (1 / seen if seen < _FEW else _SHARE) * (tokens - mean), seen)
            means.move_to_end(key)
        while len(means) > _KEPT:
            means.popitem(last=False)

    def expected(self, application: str, model: str, limit: int | None) -> float:
        """Output tokens to reckon with, never more than `limit`."""
        found = self._means.get((application, model)) or self._means.get((None, model))
        tokens = found[0] if found is not None else USUAL_OUTPUT_TOKENS
        return tokens if limit is None or tokens < limit else limit
