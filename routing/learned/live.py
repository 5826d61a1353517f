"""A trained router as a route uses it: loaded or not, with a shadow or not, and replaced only by one that is not worse.

Files are read elsewhere; this gets their bytes. It imports numpy only where a route has a router file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Self

from routing.features import Features

if TYPE_CHECKING:
    from routing.learned.predict import Predictor

# A cross-validated APGR comes out lower or higher by chance, by up to this over the square root of the rows.
_CHANCE = 0.2
_NEEDS_NUMPY = "a router file needs numpy; install with: pip install 'signalbox-gateway[learned]'"


@dataclass(slots=True, frozen=True)
class LiveRouter:
    """What a route knows by training. Without a `predictor` it knows nothing, and `error` says why.

    `version` is the start of the file's SHA-256 and the number of its rows, as `3fa9c1d2e4b5-400`. `models` are those
    it was trained on, `costs_usd` their mean costs where the rows had any. `apgr` is what its own report says, on
    rows not trained on, and `classifier_apgr` what the untrained classifier reached on the same. `error` beside a
    predictor: why a newer file was not taken over.
    """

    predictor: "Predictor | None" = None
    version: str = ""
    error: str | None = None
    models: tuple[str, ...] = ()
    costs_usd: Mapping[str, float] | None = None
    rows: int = 0
    apgr: float | None = None
    classifier_apgr: float | None = None
    shadow: "LiveRouter | None" = None

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The router of a file. Raises nothing for what is wrong with it: that is in `error`."""
        try:
            from routing.learned.model_file import ModelFileError, load  # noqa: PLC0415 - numpy is in an extra
            from routing.learned.predict import Predictor  # noqa: PLC0415
        except ImportError:
            return cls(error=_NEEDS_NUMPY)
        try:
            model = load(data)
            predictor = Predictor(model)
        except ModelFileError as error:
            return cls(error=str(error))
        # The checksum says that a file is whole, not who made it: figures and costs may be anything.
        report = model.report if isinstance(model.report, dict) else {}
        rows = _rows(report, model.arrays["rows"])
        return cls(
            predictor,
            f"{sha256(data).hexdigest()[:12]}-{rows}",
            models=model.models,
            costs_usd=_numbers(model.costs),
            rows=rows,
            apgr=_apgr(report, "learned"),
            classifier_apgr=_apgr(report, "classifier"),
        )

    @classmethod
    def unusable(cls, error: str) -> Self:
        """No router at all, for example because its file is not there."""
        return cls(error=error)

    @property
    def is_ready(self) -> bool:
        """Whether it can predict."""
        return self.predictor is not None

    def with_shadow(self, shadow: "LiveRouter | None") -> "LiveRouter":
        """The same with another one beside it, which predicts but does not decide."""
        return replace(self, shadow=shadow)

    def quality(self, features: Features, application: str | None = None) -> dict[str, float]:
        """Expected score 0..1 by model name; empty where it is not ready."""
        if self.predictor is None:
            return {}
        return dict(zip(self.predictor.models, self.predictor.predict(features, application).tolist(), strict=True))

    def shadow_choice(
        self,
        features: Features,
        application: str | None,
        min_quality_vs_best: float,
        costs: Mapping[str, float] | None = None,
    ) -> str | None:
        """The model that the shadow would have chosen: see `choose`. None without a usable shadow.

        `costs` are the candidates with what each is expected to cost; where left out, the models the shadow was trained
        on with their mean costs then.
        """
        shadow = self.shadow
        if shadow is None or shadow.predictor is None:
            return None
        quality = shadow.quality(features, application)
        return choose(quality, shadow.costs_usd or {} if costs is None else costs, min_quality_vs_best)


def choose(quality: Mapping[str, float], costs: Mapping[str, float], min_quality_vs_best: float) -> str | None:
    """The cheapest model predicted to reach that share of the best one's quality.

    Costs are in any unit. A model without a predicted quality is no candidate, one without a cost the last. Without any
    costs it is the best model.
    """
    candidates = {name: quality[name] for name in costs if name in quality} if costs else dict(quality)
    if not candidates:
        return None
    enough = min_quality_vs_best * max(candidates.values())
    able = [name for name, value in candidates.items() if value >= enough]
    return min(able, key=lambda name: (costs.get(name, inf), -candidates[name], name))


def successor(before: LiveRouter | None, new: LiveRouter, *, is_guarded: bool = True) -> LiveRouter:
    """Which of two a route goes on with. An unusable `new` never replaces one that works.

    With `is_guarded`, neither does one that is worse by more than chance, than the untrained classifier or than
    `before`. There are no graded rows here to compare them on, so each is judged by the report in its file; `signalbox
    train` compares on the rows themselves before it writes one.
    """
    running = before if before is not None and before.is_ready else None
    if running is not None and new.version == running.version:
        return replace(running, error=None)
    objection = new.error if new.error is not None else _objection(running, new) if is_guarded else None
    if objection is None:
        return new
    if running is None:
        return LiveRouter.unusable(objection)
    return replace(running, error=f"{objection}; {running.version} stays in use")


def _objection(before: LiveRouter | None, new: LiveRouter) -> str | None:
    if new.apgr is None or not new.rows:
        return "its report has no figures, so it may be worse"
    margin = _CHANCE / new.rows**0.5
    if new.classifier_apgr is not None and new.apgr < new.classifier_apgr - margin:
        return f"by its report it is worse than the classifier (APGR {new.apgr:.3f}, {new.classifier_apgr:.3f})"
    if before is not None and before.apgr is not None and new.apgr < before.apgr - margin:
        return f"by its report it is worse than the one in use (APGR {new.apgr:.3f}, {before.apgr:.3f})"
    return None


def _rows(report: Mapping[str, Any], per_model: Any) -> int:
    found = report.get("rows")
    return found if isinstance(found, int) and found > 0 else int(per_model.max())


def _apgr(report: Mapping[str, Any], method: str) -> float | None:
    figures = report.get("figures")
    figure = figures.get(method) if isinstance(figures, dict) else None
    return _numbers(figure).get("apgr")


def _numbers(found: object) -> dict[str, float]:
    """The entries that are finite numbers."""
    if not isinstance(found, dict):
        return {}
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    }
